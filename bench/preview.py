"""What `pulumi preview` of the clouds' stacks costs over a program that does nothing, with doubles that answer at once.

All run as users run them: a process of the CLI, the language host, a process of the program. The stacks are new, so that the preview plans
all of them. Everything is there that a machine has after its first preview: the plugins that the engine asks for (which is one for each SDK
that is installed, whatever the program uses) and Python's byte code. The doubles of the clouds' plugins, and this project's own plugin for
Kubernetes where the official one can't be had, are Python programs where the real ones are Go and Node: they are forked from a process that
has imported them, so that an answer does not wait for Python. How long they take to start is said apart: `double`, so started, and
`kubernetes`, started cold. All else starts cold: CLI, language host, program, and the provider of the models' releases.

Writes bench/results/preview.json. The last line has the ratios; exits with 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.cli.pulumi import COMPANIONS, assemble
from local.paths import cache_root
from local.plugins.kubernetes import write_launcher
from local.progress import SilentReporter
from local.toolchain import Toolchain
from tests.doubles.aws import DOUBLE as AWS
from tests.doubles.aws.cloud import Cloud
from tests.doubles.docker_build import DOUBLE as DOCKER_BUILD
from tests.doubles.eks.access import CLUSTER_FILE, write_aws_command
from tests.doubles.gcp import DOUBLE as GCP
from tests.doubles.install import environment, install_all
from tests.doubles.warm import DOUBLES, Warm
from tests.engine.clouds.eks import EKS, eks_settings
from tests.engine.clouds.fleet import ROOT, Fleet, path_with, pulumi_home, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BAR: Final = 2.5
CLOUDS: Final = ("eks", "gke")
_READ: Final = ("tests.doubles.aws.rows:load_models", "tests.doubles.gcp.api:load_documents")
"""Descriptions of the clouds' APIs, which take the doubles longer to read than a preview may take in all."""
_EMPTY: Final = "import pulumi\n\npulumi.export('nothing', 0)\n"


@dataclass
class Taken:
    """What the runs of one program took, in seconds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Of all processes."""

    def add(self, work: Callable[[], object]) -> None:
        """Measure ``work``, which waits for all that it starts."""
        before, began = _cpu(), time.monotonic()
        work()
        self.wall.append(time.monotonic() - began)
        self.cpu.append(_cpu() - before)


def _cpu() -> float:
    """Seconds of CPU of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def empty(folder: Path, known: Mapping[str, str]) -> Callable[[], None]:
    """Preview a program that does nothing."""
    folder.mkdir()
    (folder / "__main__.py").write_text(_EMPTY, encoding="utf-8")
    project = {"name": "empty", "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}}}
    (folder / "Pulumi.yaml").write_text(json.dumps(project), encoding="utf-8")
    (folder / "backend").mkdir()
    everything = {**os.environ, **known, "PULUMI_BACKEND_URL": (folder / "backend").as_uri()}

    def run(*arguments: str) -> None:
        subprocess.run(["pulumi", *arguments, "--non-interactive"], cwd=folder, env=everything, check=True, capture_output=True)

    run("stack", "init", "empty")
    return lambda: run("preview", "--stack", "empty")


def start_of(program: Path, known: Mapping[str, str]) -> float:
    """Wall time until a plugin says its port."""
    began = time.monotonic()
    with subprocess.Popen(
        [str(program), "127.0.0.1:1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **known}, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101  # asked for above
        process.stdout.readline()
        took = time.monotonic() - began
        process.kill()
    return took


def measure(rounds: int, scratch: Path) -> tuple[dict[str, Taken], dict[str, float]]:
    """Rounds of all programs in turn, and the median starts of a double and of the plugin for Kubernetes."""
    toolchain = Toolchain(cache_root(), SilentReporter())
    toolchain.ensure("helm", "pulumi", *COMPANIONS)
    cli = assemble(scratch / "cli", toolchain, Path(sys.executable))
    modules = [double.partition(":")[0] for double in (AWS, GCP, DOCKER_BUILD)]
    plugins = Warm(scratch / "warm", preload=[*DOUBLES, "local.plugins.kubernetes.server", *modules, *_READ])
    home, doubles, programs = pulumi_home(cli, scratch / "pulumi", python=plugins.python), scratch / "doubles", scratch / "bin"
    doubles.mkdir()
    # A preview of a new stack knows no kubeconfig yet: nobody has to answer there.
    (doubles / CLUSTER_FILE).write_text(json.dumps({"server": "https://127.0.0.1:1", "authority": ""}), encoding="utf-8")
    write_aws_command(programs, doubles)
    with (
        Cloud() as cloud,
        plugins as warm,
        # A component: it has the SDK, as programs have.
        Warm(
            scratch / "component", preload=["pulumi.provider.server", "tests.doubles.provider_server", EKS.partition(":")[0]]
        ) as component,
    ):
        install_all(home, [("aws", AWS), ("gcp", GCP), ("docker-build", DOCKER_BUILD)], python=warm.python)
        install_all(home, [("eks", EKS)], python=component.python)
        known = {
            "PATH": path_with([programs, cli.parent, toolchain.path("helm").parent]),
            "PULUMI_HOME": str(home),
            "PULUMI_CONFIG_PASSPHRASE": "bench",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "KUBECONFIG": str(scratch / "none"),
            # Google's bucket is the stack's own: a preview of a new stack asks nobody for it.
            "GOOGLE_APPLICATION_CREDENTIALS": str(scratch / "none"),
            "CLOUDSDK_CONFIG": str(scratch / "none"),
            "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1",
            **cloud.environment(),
            **environment(doubles),
        }
        fleets = {
            "eks": Fleet(scratch / "eks", "eks", known, doubles, eks_settings("eks")),
            "gke": Fleet(scratch / "gke", "gke", known, doubles, settings_of("gke")),
        }
        programs_of: dict[str, Callable[[], object]] = {"empty": empty(scratch / "empty", known)}
        for name, fleet in fleets.items():
            programs_of[name] = lambda fleet=fleet: fleet.run("preview", "--stack", fleet.stack)  # type: ignore[misc]  # a default binds it now
        startable = {
            "double": next(home.glob("plugins/resource-aws-v*/pulumi-resource-aws")),
            "kubernetes": write_launcher(scratch / "cold"),
        }
        for work in programs_of.values():
            work()  # what is compiled and cached the first time
        taken = {name: Taken() for name in programs_of}
        starts: dict[str, list[float]] = {name: [] for name in startable}
        for _ in range(rounds):
            for name, work in programs_of.items():
                taken[name].add(work)
            for name, plugin in startable.items():
                starts[name].append(start_of(plugin, known))
    return taken, {name: statistics.median(found) for name, found in starts.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.preview", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "preview.json")
    options = parser.parse_args(arguments)
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        # As under make (Makefile): else each of the processes would compile all that it imports.
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(sys.prefix) / "bytecode"))
    scratch = Path(tempfile.mkdtemp(prefix="tfb-"))
    try:
        taken, starts = measure(options.rounds, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    wall = {name: statistics.median(found.wall) for name, found in taken.items()}
    cpu = {name: statistics.median(found.cpu) for name, found in taken.items()}
    ratios = {name: wall[name] / wall["empty"] for name in CLOUDS}
    missed = [f"{name}: {ratio:.2f} times an empty program, the bar is {BAR}" for name, ratio in ratios.items() if ratio >= BAR]
    content = {
        "processors": os.cpu_count(),
        "seconds": {**{name: round(value, 3) for name, value in wall.items()}, **{name: round(value, 3) for name, value in starts.items()}},
        "cpu": {name: round(value, 3) for name, value in cpu.items()},
        "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "missed": missed,
    }
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for miss in missed:
        print(f"missed: {miss}")
    print(
        *(f"{name}={wall[name]:.2f}s({cpu[name]:.2f}s cpu)" for name in wall),
        *(f"{name}={value:.2f}s" for name, value in starts.items()),
        *(f"{name}/empty={ratio:.2f}" for name, ratio in ratios.items()),
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
