"""Measures what scan and validation of 2,000 models take: the first time, with one model changed, and when nothing has changed.

Each run is a process of its own, from the start of Python to the findings, as in a preview. Beside them, `sha256sum` reads all files: what
any check that does not rely on the files' attributes takes at least. The models are copies of this project's own, with ensembles.

The bar: CPU time when nothing has changed. Writes bench/results/validate.json. The last line has the ratios. Exits with 1 when the bar is
missed.
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
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT: Final = Path(__file__).resolve().parents[1]
BAR_S: Final = 1.5
"""Most seconds of CPU when nothing has changed."""
_COPIED: Final = ("add_sub", "busy", "pipeline", "upper")
_OLD_S: Final = 3
"""Seconds after which a file's attributes are believed."""
_PROGRAM: Final = """
import os, sys
from pathlib import Path
from components.repository.scan.cache import open_cache
from components.repository.scan.folder import scan
from components.repository.scan.verdicts import checked
from components.repository.validation import Deployment

folder = Path(sys.argv[1])
plan = scan(folder, None, open_cache(folder, os.environ))
problems = checked(folder, None, [Deployment(key="dev", image="triton-fleet.local/tritonserver:2.51.0-cpu", gpus=0)], environ=os.environ)
sys.exit(0 if len(plan.models) == int(sys.argv[2]) and not problems else 1)
"""


def write_models(folder: Path, count: int) -> None:
    """Copy this project's models ``count / 4`` times, each under a name of its own."""
    for number in range(count // len(_COPIED)):
        for name in _COPIED:
            copy = folder / f"{name}_{number}"
            shutil.copytree(ROOT / "models" / name, copy)
            config = copy / "config.pbtxt"
            text = config.read_text(encoding="utf-8")
            for other in _COPIED:
                text = text.replace(f'"{other}"', f'"{other}_{number}"')
            config.write_text(text, encoding="utf-8")


def cpu_of(command: Sequence[str], cache: Path) -> float:
    """Seconds of CPU of a command and its children.

    Raises:
        CalledProcessError: The command fails: the models have problems, or their number is wrong.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(ROOT)}
    subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(rounds: int, count: int, scratch: Path) -> dict[str, list[float]]:
    """Run all of them in turn, ``rounds`` times."""
    models, cache = scratch / "models", scratch / "cache"
    write_models(models, count)
    time.sleep(_OLD_S)
    files = [str(path) for path in models.rglob("*") if path.is_file()]
    check = partial(cpu_of, [sys.executable, "-c", _PROGRAM, str(models), str(count)], cache)

    def first() -> float:
        shutil.rmtree(cache, ignore_errors=True)
        return check()

    def changed() -> float:
        (models / "add_sub_0" / "1" / "model.py").touch()
        time.sleep(_OLD_S)
        return check()

    works: dict[str, Callable[[], float]] = {
        "first": first,
        "unchanged": check,
        "one-changed": changed,
        "python": partial(cpu_of, [sys.executable, "-c", "pass"], cache),
        "sha256sum": partial(cpu_of, ["sha256sum", "--", *files], cache),
    }
    first()  # compiles what is imported
    taken: dict[str, list[float]] = {name: [] for name in works}
    for done in range(rounds):
        for name, work in works.items():
            taken[name].append(work())
        print(f"round {done + 1} of {rounds}: " + ", ".join(f"{name} {values[-1]:.2f} s" for name, values in taken.items()), flush=True)
    return taken


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.validate", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "validate.json")
    options = parser.parse_args(arguments)
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):  # as in bench/preview.py
        os.environ.setdefault("PYTHONPYCACHEPREFIX", str(Path(sys.prefix) / "bytecode"))
    scratch = Path(tempfile.mkdtemp(prefix="tfb-"))
    try:
        taken = measure(options.rounds, options.models, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    cpu = {name: statistics.median(values) for name, values in taken.items()}
    missed = [f"unchanged: {cpu['unchanged']:.2f} s of CPU, the bar is {BAR_S} s"] if cpu["unchanged"] > BAR_S else []
    content = {
        "processors": os.cpu_count(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[1], 1),
        "models": options.models,
        "cpu": {name: [round(min(values), 3), round(cpu[name], 3), round(max(values), 3)] for name, values in taken.items()},
        "ratios": {name: round(cpu[name] / cpu["unchanged"], 2) for name in cpu if name != "unchanged"},
        "missed": missed,
    }
    options.out.parent.mkdir(exist_ok=True)
    options.out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for miss in missed:
        print(f"missed: {miss}")
    print(f"unchanged={cpu['unchanged']:.2f}s", *(f"{name}/unchanged={ratio}" for name, ratio in content["ratios"].items()))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
