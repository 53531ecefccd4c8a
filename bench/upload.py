"""Uploads of models: this project against `rclone copy` and `aws s3 sync` with the same parallelism, on one server, in one run.

The server is versitygw on loopback; beside the three, raw PUTs of the same bytes over kept connections say what it takes at most. Times are
seconds of wall clock from process start to process end, the best of the rounds; only "nothing changed" counts, for us, what a
`pulumi preview` and a `pulumi up` add to what they do anyway (engine and SDK are running then): two scans and the provider's answers.

Writes bench/results/upload.json. The last line has the ratios (theirs over ours: above 1 is faster); exits with 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parents[1]
PARALLEL: Final = 16
RSS_MIB: Final = 300
BUCKET: Final = "bench"
AWSCLI: Final = "awscli==1.46.3"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One program on one case."""

    seconds: float
    rss_mib: float
    """Peak of its resident memory, in MiB."""


@contextlib.contextmanager
def server(program: Path, folder: Path) -> Generator[dict[str, str]]:
    """An object store on loopback; yields the environment that reaches it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key, secret = secrets.token_hex(8), secrets.token_hex(20)
    environment = {**os.environ, "ROOT_ACCESS_KEY": key, "ROOT_SECRET_KEY": secret}
    with subprocess.Popen(
        [program, "--quiet", "--port", f"127.0.0.1:{port}", "posix", folder],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            for _ in range(100):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                    break
                time.sleep(0.1)
            yield {
                **{name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
                "AWS_ACCESS_KEY_ID": key,
                "AWS_SECRET_ACCESS_KEY": secret,
                "AWS_REGION": "us-east-1",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
                "AWS_EC2_METADATA_DISABLED": "true",
                "AWS_CONFIG_FILE": str(folder.parent / "aws-config"),
                "XDG_CACHE_HOME": str(folder.parent / "cache"),
            }
        finally:
            process.terminate()


def measured(command: Sequence[str | Path], environment: Mapping[str, str]) -> tuple[Run, str]:
    """Run a program to its end. Raises RuntimeError when it fails."""
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        process = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        spent = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if process.returncode:
        message = f"{' '.join(map(str, command))} ended with {process.returncode}:\n{text[-2000:]}"
        raise RuntimeError(message)
    return Run(seconds=round(spent, 3), rss_mib=round(usage.ru_maxrss / 1024, 1)), text


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


def ours(source: str, prefix: str, what: str) -> None:
    """What a child process does: a first upload, or a run in which the release is known. Prints the seconds that it added."""
    from components.repository.scan import scan  # noqa: PLC0415
    from components.repository.scancache import open_cache  # noqa: PLC0415
    from components.repository.sync import ReleaseProvider  # noqa: PLC0415

    folder = Path(source)
    state = folder.parent / "state.json"
    began = time.monotonic()
    for _ in range(2 if what == "nothing" else 1):
        plan = scan(folder, None, open_cache(folder, os.environ))
        props: dict[str, Any] = {
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
        if changes is not (what != "nothing"):
            message = f"{what}: changes is {changes}"
            raise RuntimeError(message)
    if changes:
        state.write_text(json.dumps(provider.create(props).outs))
    print(time.monotonic() - began)


def _raw_share(work: tuple[str, list[str], int]) -> None:
    """PUTs of some files by one process, with nothing but what the protocol wants."""
    from components.repository.s3client import Location  # noqa: PLC0415
    from components.repository.store import S3Store  # noqa: PLC0415

    prefix, paths, threads = work
    quick = S3Store(Location(bucket=BUCKET, region="us-east-1", endpoint=None))._quick  # noqa: SLF001

    def put(path: str) -> None:
        if quick.put(f"{prefix}/{path}", Path(path).read_bytes()) is None:
            raise RuntimeError(path)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(put, paths))


def raw(source: str, prefix: str) -> None:
    """The same bytes, by as many processes as there are processors."""
    paths = sorted(str(path) for path in Path(source).rglob("*") if path.is_file())
    processes = os.cpu_count() or 1
    shares = [(prefix, paths[number::processes], max(PARALLEL // processes, 1)) for number in range(processes)]
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(_raw_share, shares))


def rclone_command(program: Path, source: Path, prefix: str, endpoint: str) -> list[str | Path]:
    """`rclone copy` with the same parallelism and part size."""
    flags = ["--config", "/dev/null", "--transfers", str(PARALLEL), "--checkers", str(PARALLEL), "--s3-provider", "Other", "--s3-env-auth"]
    flags += ["--s3-endpoint", endpoint, "--s3-no-check-bucket", "--s3-chunk-size", "8M", "--s3-upload-cutoff", "8M"]
    return [program, "copy", *flags, source, f":s3:{BUCKET}/{prefix}"]


def aws_program(cache: Path) -> Path:
    """The AWS command line, in an environment of its own."""
    home = cache / "bench" / AWSCLI.replace("==", "-")
    program = home / "bin" / "aws"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([home / "bin" / "python", "-m", "pip", "install", "-q", AWSCLI], check=True)
    return program


def best(rounds: int, once: Callable[[int], Run]) -> Run:
    """The fastest of some rounds, with the largest memory of all."""
    runs = [once(number) for number in range(rounds)]
    return Run(seconds=min(run.seconds for run in runs), rss_mib=max(run.rss_mib for run in runs))


def bench(options: argparse.Namespace) -> int:
    """Run all cases; 0 when every bar is met."""
    from local.paths import cache_root  # noqa: PLC0415
    from local.progress import TerminalReporter  # noqa: PLC0415
    from local.toolchain import Toolchain  # noqa: PLC0415

    toolchain = Toolchain(cache_root(), TerminalReporter())
    toolchain.ensure("versitygw", "rclone")
    rclone, aws = toolchain.path("rclone"), aws_program(cache_root())
    results: dict[str, dict[str, Run]] = {}
    with tempfile.TemporaryDirectory(prefix="triton-fleet-bench-", dir=options.folder) as name:
        home = Path(name)
        (home / "objects").mkdir()
        (home / "aws-config").write_text(
            f"[default]\ns3 =\n  max_concurrent_requests = {PARALLEL}\n  multipart_chunksize = 8MB\n  multipart_threshold = 8MB\n"
        )
        with server(toolchain.path("versitygw"), home / "objects") as environment:
            measured([aws, "s3", "mb", f"s3://{BUCKET}"], environment)
            scale = options.scale
            for case, models, files, size in (
                ("large", 4, 10, int((2 << 30) / 40 * scale)),
                ("small", 100, max(int(99 * scale), 2), 4096),
            ):
                source = home / case / "models"
                make_models(source, models, files, size)
                results |= _cases(case, source, environment, {"rclone": rclone, "aws": aws}, options.rounds)
                shutil.rmtree(home / case)
    return report(results, options.scale)


def _cases(case: str, source: Path, environment: Mapping[str, str], programs: Mapping[str, Path], rounds: int) -> dict[str, dict[str, Run]]:
    child = [sys.executable, "-m", "bench.upload"]
    endpoint = environment["AWS_ENDPOINT_URL_S3"]
    objects = Path(environment["AWS_CONFIG_FILE"]).parent / "objects" / BUCKET

    def rclone(prefix: str) -> Run:
        return measured(rclone_command(programs["rclone"], source, prefix, endpoint), environment)[0]

    def aws(prefix: str) -> Run:
        return measured([programs["aws"], "s3", "sync", "--only-show-errors", source, f"s3://{BUCKET}/{prefix}"], environment)[0]

    def mine(prefix: str, what: str) -> Run:
        run, text = measured([*child, "--ours", str(source), prefix, what], environment)
        return Run(seconds=round(float(text.split()[-1]), 3), rss_mib=run.rss_mib) if what == "nothing" else run

    def first(run: Callable[[str], Run]) -> Callable[[int], Run]:
        def once(number: int) -> Run:
            for old in ("state.json",):
                (source.parent / old).unlink(missing_ok=True)
            shutil.rmtree(Path(environment["XDG_CACHE_HOME"]) / "triton-fleet", ignore_errors=True)
            shutil.rmtree(objects / f"{case}-{number - 1}", ignore_errors=True)
            return run(f"{case}-{number}")

        return once

    found: dict[str, dict[str, Run]] = {f"first-{case}": {}}
    programs_of: dict[str, Callable[[str], Run]] = {
        "raw": lambda prefix: measured([*child, "--raw", str(source), prefix], environment)[0],
        "rclone": rclone,
        "aws": aws,
        "ours": lambda prefix: mine(prefix, "first"),
    }
    for name, run in programs_of.items():
        found[f"first-{case}"][name] = best(rounds, first(run))
        last = f"{case}-{rounds - 1}"
        if case == "small" and name != "raw":
            again: Callable[[str], Run] = (lambda prefix: mine(prefix, "nothing")) if name == "ours" else run
            found.setdefault("nothing-changed", {})[name] = best(rounds, _each_time(again, last))
            changed = source / "model_050" / "1" / "0001.bin"
            changed.write_bytes(os.urandom(4096))
            os.utime(changed, (time.time() - 30,) * 2)
            found.setdefault("one-changed", {})[name] = mine(last, "one") if name == "ours" else run(last)
        for old in objects.glob(f"{case}-*"):
            shutil.rmtree(old)
    return found


def _each_time(run: Callable[[str], Run], prefix: str) -> Callable[[int], Run]:
    return lambda _: run(prefix)


def report(results: dict[str, dict[str, Run]], scale: float) -> int:
    """Write the results, print them, and say whether the bars are met."""
    missed = []
    ratios = []
    for case, runs in results.items():
        mine = runs["ours"]
        for name, run in runs.items():
            ratio = run.seconds / mine.seconds
            print(f"{case:16} {name:7} {run.seconds:9.3f} s  {run.rss_mib:7.1f} MiB  x{ratio:.2f}")
            if name != "ours":
                ratios.append(f"{case}/{name}={ratio:.2f}")
        least = {"first-large": {"rclone": 1.0, "aws": 1.0}, "first-small": {"rclone": 1.0, "aws": 1.0}, "nothing-changed": {"aws": 10.0}}
        for name, bar in least.get(case, {}).items():
            if runs[name].seconds / mine.seconds < bar:
                missed.append(f"{case} against {name}: {runs[name].seconds / mine.seconds:.2f}, the bar is {bar}")
        if mine.rss_mib >= RSS_MIB:
            missed.append(f"{case}: {mine.rss_mib} MiB, the bar is {RSS_MIB}")
    out = ROOT / "bench" / "results" / "upload.json"
    out.parent.mkdir(exist_ok=True)
    content = {
        "scale": scale,
        "processors": os.cpu_count(),
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
    parser.add_argument("--ours", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--raw", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ours:
        ours(*options.ours)
        return 0
    if options.raw:
        raw(*options.raw)
        return 0
    return bench(options)


if __name__ == "__main__":
    sys.exit(main())
