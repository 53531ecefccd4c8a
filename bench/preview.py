"""Compares `pulumi preview` of the clouds' stacks with a flat program that registers the same resources with the same SDKs.

For each cloud, three programs are previewed in turn, each as a user runs it (the CLI, the language host and the program in processes of
their own): ours on its stack file, the flat file in bench/preview_flat, and a program that does nothing. They share the engine, the plugins
and the state of a new stack, so that a preview plans everything. Before anything is measured, the previews of ours and of the flat file are
compared: apart from our components, both must plan the same resources. The flat file for EKS also looks up what its inputs need (account,
zones, versions of add-ons); the one for GKE has the zones and the project's number as literals.

The bar is ours over the flat file. The empty program is printed beside them without a bar: what the SDKs' imports cost, every user of the
SDKs pays. The machine is as after a first preview: the plugins are installed and Python's bytecode exists. The doubles of the clouds'
plugins, and this project's plugin for Kubernetes where the official one is not available, are Python programs in place of Go and Node ones.
They are forked from a process that has imported them, so that answers do not wait for Python.

Writes bench/results/preview.json. The last line has the ratios. Exits with 1 when the bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.cli.pulumi import COMPANIONS, assemble
from local.paths import cache_root
from local.progress import SilentReporter
from local.toolchain import Toolchain
from tests.doubles.aws import DOUBLE as AWS
from tests.doubles.aws.cloud import Cloud
from tests.doubles.docker_build import DOUBLE as DOCKER_BUILD
from tests.doubles.eks.access import CLUSTER_FILE, write_aws_command
from tests.doubles.gcp import DOUBLE as GCP
from tests.doubles.install import environment, install_all
from tests.doubles.warm import DOUBLES, Warm
from tests.engine.clouds.eks import EKS
from tests.engine.clouds.fleet import ROOT, Fleet, merge_charts, path_with, pulumi_home, settings_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

BAR: Final = 1.25
"""Most that a preview of ours may take over one of the flat file."""
CLOUDS: Final = ("eks", "gke")
_READ: Final = ("tests.doubles.aws.rows:load_models", "tests.doubles.gcp.api:load_documents")
"""Descriptions of the clouds' APIs, which the doubles take longer to read than a whole preview may take."""
_EMPTY: Final = "import pulumi\n\npulumi.export('nothing', 0)\n"


@dataclass
class Taken:
    """What the runs of one program took, in seconds."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """CPU time of all processes."""

    def add(self, work: Callable[[], object]) -> None:
        """Measure ``work``, which waits for all processes that it starts."""
        before, began = _cpu(), time.monotonic()
        work()
        self.wall.append(time.monotonic() - began)
        self.cpu.append(_cpu() - before)


def _cpu() -> float:
    """Seconds of CPU of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass
class Program:
    """A program of a few lines in a project of its own."""

    folder: Path
    source: str
    known: Mapping[str, str]
    """Environment of Pulumi."""
    config: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir()
        (self.folder / "backend").mkdir()
        (self.folder / "__main__.py").write_text(self.source, encoding="utf-8")
        project = {"name": "bench", "runtime": {"name": "python", "options": {"virtualenv": sys.prefix}}}
        (self.folder / "Pulumi.yaml").write_text(json.dumps(project), encoding="utf-8")
        content = {"config": {f"bench:{key}": value for key, value in self.config.items()}}
        (self.folder / "Pulumi.bench.yaml").write_text(json.dumps(content), encoding="utf-8")
        self.run("stack", "init", "bench")

    def run(self, *arguments: str) -> str:
        """Run the CLI and return what it prints.

        Raises:
            RuntimeError: When it fails, with what it says.
        """
        environment = {**os.environ, **self.known, "PULUMI_BACKEND_URL": (self.folder / "backend").as_uri()}
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"], cwd=self.folder, env=environment, check=False, capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(f"pulumi {arguments[0]} in {self.folder.name}:\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def preview(self, *more: str) -> str:
        """`pulumi preview`."""
        return self.run("preview", "--stack", "bench", *more)


def planned(steps: str) -> Counter[str]:
    """Return type and name of the resources in a preview's JSON, without the stack and our components."""
    urns = (step["urn"].split("::", 3) for step in json.loads(steps)["steps"])
    found = Counter(f"{kind.rsplit('$', 1)[-1]} {name}" for _, _, kind, name in urns)
    return Counter({key: count for key, count in found.items() if not key.startswith(("pulumi:pulumi:Stack", "triton-fleet:"))})


def check_same(cloud: str, ours: str, flat: str) -> None:
    """Check that two previews (JSON) plan the same resources.

    Raises:
        ValueError: With what only one of them plans.
    """
    mine, theirs = planned(ours), planned(flat)
    if mine != theirs:
        only_ours, only_flat = sorted((mine - theirs).elements()), sorted((theirs - mine).elements())
        raise ValueError(f"bench/preview_flat/{cloud}.py is out of date: only ours plans {only_ours}, only the flat file {only_flat}")


def measure(rounds: int, scratch: Path) -> dict[str, Taken]:
    """Preview all programs in turn, ``rounds`` times."""
    toolchain = Toolchain(cache_root(), SilentReporter())
    toolchain.ensure("helm", "pulumi", *COMPANIONS)
    cli = assemble(scratch / "cli", toolchain, Path(sys.executable))
    modules = [double.partition(":")[0] for double in (AWS, GCP, DOCKER_BUILD)]
    plugins = Warm(scratch / "warm", preload=[*DOUBLES, "local.plugins.kubernetes.server", *modules, *_READ])
    home, doubles, programs = pulumi_home(cli, scratch / "pulumi", python=plugins.python), scratch / "doubles", scratch / "bin"
    doubles.mkdir()
    # No cluster has to answer: a preview of a new stack has no kubeconfig yet.
    (doubles / CLUSTER_FILE).write_text(json.dumps({"server": "https://127.0.0.1:1", "authority": ""}), encoding="utf-8")
    write_aws_command(programs, doubles)
    with (
        Cloud() as amazon,
        plugins as warm,
        # The plugin of a component: it imports the SDK, as programs do.
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
            # Google's bucket is the new stack's own: its preview needs no credentials.
            "GOOGLE_APPLICATION_CREDENTIALS": str(scratch / "none"),
            "CLOUDSDK_CONFIG": str(scratch / "none"),
            **amazon.environment(),
            # The bucket is AWS' own, not one of an S3-compatible store: only the doubles use the endpoint.
            "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
            **environment(doubles),
        }
        fleets = {cloud: Fleet(scratch / cloud, cloud, known, doubles, settings_of(cloud)) for cloud in CLOUDS}
        charts = str(merge_charts(scratch / "charts"))
        works: dict[str, Callable[[], object]] = {"empty": Program(scratch / "empty", _EMPTY, known).preview}
        for cloud, fleet in fleets.items():
            flat = Program(
                scratch / f"{cloud}-flat",
                f"import bench.preview_flat.{cloud}\n",
                {**known, "PYTHONPATH": str(ROOT)},
                {"root": str(ROOT), "charts": charts},
            )
            ours = partial(fleet.run, "preview", "--stack", fleet.stack)
            check_same(cloud, ours("--json").stdout, flat.preview("--json"))
            works |= {cloud: ours, f"{cloud}-flat": flat.preview}
        for work in works.values():
            work()  # what is compiled and cached the first time
        taken = {name: Taken() for name in works}
        for _ in range(rounds):
            for name, work in works.items():
                taken[name].add(work)
    return taken


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.preview", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "preview.json")
    options = parser.parse_args(arguments)
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
        # As in the Makefile: without it, each process would compile everything that it imports.
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(sys.prefix) / "bytecode"))
    scratch = Path(tempfile.mkdtemp(prefix="tfb-"))
    try:
        taken = measure(options.rounds, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    wall = {name: statistics.median(found.wall) for name, found in taken.items()}
    cpu = {name: statistics.median(found.cpu) for name, found in taken.items()}
    ratios = {name: wall[name] / wall[f"{name}-flat"] for name in CLOUDS}
    over_empty = {name: wall[name] / wall["empty"] for name in wall if name != "empty"}
    missed = [f"{name}: {ratio:.2f} times the flat file, the bar is {BAR}" for name, ratio in ratios.items() if ratio > BAR]
    content = {
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[1], 1),
        "seconds": {name: round(value, 3) for name, value in wall.items()},
        "cpu": {name: round(value, 3) for name, value in cpu.items()},
        "ratios": {f"{name}/flat": round(ratio, 2) for name, ratio in ratios.items()},
        "over_empty": {name: round(ratio, 2) for name, ratio in over_empty.items()},
        "missed": missed,
    }
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for miss in missed:
        print(f"missed: {miss}")
    print(*(f"{name}={wall[name]:.2f}s({cpu[name]:.2f}s cpu)" for name in wall))
    print(*(f"{name}/empty={ratio:.2f}" for name, ratio in over_empty.items()))
    print(*(f"{name}/flat={ratio:.2f}" for name, ratio in ratios.items()))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
