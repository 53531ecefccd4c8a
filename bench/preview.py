"""What `pulumi preview -s eks` costs over a program that does nothing, with doubles that answer at once.

Both run as users run them: a process of the CLI, the language host, a process of the program. The stack is new, so that the preview plans
all of it. The doubles of aws and eks are Python programs where the real plugins are Go and Node, and start a second later or so than those:
that is in the number, and is said apart (`double`: how long one takes to start).

Writes bench/results/preview.json. The last line has the ratio; exits with 1 when the bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.cli.pulumi import COMPANIONS, assemble
from local.paths import cache_root
from local.progress import SilentReporter
from local.toolchain import Toolchain
from tests.doubles.aws import DOUBLE as AWS
from tests.doubles.aws.cloud import Cloud
from tests.doubles.eks.access import CLUSTER_FILE, write_aws_command
from tests.doubles.install import environment, install_all
from tests.engine.clouds.eks import EKS, eks_fleet
from tests.engine.clouds.fleet import ROOT, path_with, pulumi_home

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BAR: Final = 2.5
_EMPTY: Final = "import pulumi\n\npulumi.export('nothing', 0)\n"


def empty(folder: Path, known: dict[str, str]) -> Callable[[], None]:
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


def seconds(work: Callable[[], object]) -> float:
    """Wall time."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def start_of(program: Path, known: dict[str, str]) -> float:
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


def measure(rounds: int, scratch: Path) -> dict[str, float]:
    """The medians of some rounds, taken in turn."""
    toolchain = Toolchain(cache_root(), SilentReporter())
    toolchain.ensure("helm", "pulumi", *COMPANIONS)
    cli = assemble(scratch / "cli", toolchain, Path(sys.executable))
    home, doubles, programs = pulumi_home(cli, scratch / "pulumi"), scratch / "doubles", scratch / "bin"
    doubles.mkdir()
    install_all(home, [("aws", AWS), ("eks", EKS)])
    # A preview of a new stack knows no kubeconfig yet: nobody has to answer there.
    (doubles / CLUSTER_FILE).write_text(json.dumps({"server": "https://127.0.0.1:1", "authority": ""}), encoding="utf-8")
    write_aws_command(programs, doubles)
    with Cloud() as cloud:
        known = {
            "PATH": path_with([programs, cli.parent, toolchain.path("helm").parent]),
            "PULUMI_HOME": str(home),
            "PULUMI_CONFIG_PASSPHRASE": "bench",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "KUBECONFIG": str(scratch / "none"),
            **cloud.environment(),
            **environment(doubles),
        }
        nothing = empty(scratch / "empty", known)
        fleet = eks_fleet("eks", scratch / "stack", known, doubles)

        def ours() -> None:
            fleet.run("preview", "--stack", fleet.stack)

        seconds(nothing), seconds(ours)  # what is compiled and cached the first time
        taken: dict[str, list[float]] = {"empty": [], "eks": [], "double": []}
        plugin = next(home.glob("plugins/resource-aws-v*/pulumi-resource-aws"))
        for _ in range(rounds):
            taken["empty"].append(seconds(nothing))
            taken["eks"].append(seconds(ours))
            taken["double"].append(start_of(plugin, known))
    return {name: statistics.median(values) for name, values in taken.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.preview", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "preview.json")
    options = parser.parse_args(arguments)
    scratch = Path(tempfile.mkdtemp(prefix="tfb-"))
    try:
        found = measure(options.rounds, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    ratio = found["eks"] / found["empty"]
    missed = [f"{ratio:.2f} times an empty program, the bar is {BAR}"] if ratio >= BAR else []
    content = {"processors": os.cpu_count(), "seconds": {key: round(value, 3) for key, value in found.items()}, "missed": missed}
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for miss in missed:
        print(f"missed: {miss}")
    print(" ".join(f"{key}={value:.2f}s" for key, value in found.items()), f"eks/empty={ratio:.2f}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
