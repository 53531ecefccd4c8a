"""Create .venv from a lock file. Uses only the standard library, because it runs before anything is installed.

``bootstrap.py LOCKFILE`` installs everything in the lock file into ``.venv`` and verifies each package against its hash. A stamp named
after the lock's content makes later runs take milliseconds. Concurrent runs wait for each other; a killed run leaves no stamp, so the next
one repairs it. If this Python is too new for a package (no wheel) or can't create virtual environments, the next older Python on PATH takes
over. All output goes to standard error: ``eval "$(make -s env)"`` reads standard output.
"""

from __future__ import annotations

import ast
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

ROOT: Final = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # a script finds only its own folder

from local.paths import cache_root  # noqa: E402 (after the path)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VENV: Final = ROOT / ".venv"
LOCK: Final = VENV / ".bootstrap.lock"  # not ".lock": uv uses that name
_OLDEST_MINOR: Final = 11
_NO_WHEEL: Final = (
    re.compile(r"(?P<package>\S+) has no (?:usable )?wheels"),  # uv
    re.compile(r"(?P<package>\S+) \(from versions: (?!none)"),  # pip; "none" means that the index is unreachable
)


class UnsuitablePythonError(Exception):
    """This Python can't install the lock file; another one may."""


def say(text: str) -> None:
    """Write ``text`` to standard error."""
    print(text, file=sys.stderr, flush=True)


def stamp(lock_file: Path) -> Path:
    """Marks the complete installation of ``lock_file``: the name has a hash of its content and of the Python's version."""
    return VENV / f".installed-{lock_file.stem}-{_digest(lock_file)}"


def unsuitable(lock_file: Path) -> Path:
    """Marks that this Python can't install ``lock_file``. `make_environment` keeps it."""
    return VENV / f".unsuitable-{lock_file.stem}-{_digest(lock_file)}"


def _digest(lock_file: Path) -> str:
    return hashlib.sha256(lock_file.read_bytes() + repr(tuple(sys.version_info[:2])).encode()).hexdigest()[:16]


def both_locks(lock_file: Path) -> list[Path]:
    """The lock file and its development lock, which has the same packages and more; those that exist."""
    return [one for one in (lock_file, lock_file.with_name(f"{lock_file.stem}-dev.lock")) if one.exists()]


def is_done(lock_file: Path) -> bool:
    """Whether everything in ``lock_file`` is installed, by itself or with the development lock."""
    return any(stamp(one).exists() for one in both_locks(lock_file))


def works(python: Path) -> bool:
    """Whether the environment's Python starts, is of this version and has pip; after an upgrade of the system's Python it may not."""
    check = f"import pip, sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    return python.exists() and subprocess.run([str(python), "-c", check], capture_output=True, check=False).returncode == 0


def make_environment() -> None:
    """Create .venv anew; keeps only the lock and the marks of unsuitable Pythons."""
    for entry in VENV.iterdir():
        if entry != LOCK and not entry.name.startswith(".unsuitable-"):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
    if made.returncode:
        say(made.stdout + made.stderr)
        raise UnsuitablePythonError(f"it can't create virtual environments (on Debian and Ubuntu, install python{_version()}-venv)")


def _version() -> str:
    return ".".join(str(part) for part in sys.version_info[:2])


def uv_lines(development: Path) -> str | None:
    """The development lock's lines for uv and its hashes."""
    text = development.read_text(encoding="utf-8") if development.exists() else ""
    found = re.search(r"^uv==[^\n]*\n(?: +--hash=[^\n]*\n?)*", text, re.MULTILINE)
    return None if found is None else found[0]


def run(command: Sequence[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Run an installer that installs wheels only; whether it succeeded. Raises UnsuitablePythonError if a wheel is missing."""
    done = subprocess.run(
        command, env=dict(environment), stdout=sys.stderr, stderr=subprocess.PIPE, text=True, errors="replace", check=False
    )
    said = " ".join(done.stderr.split())
    found = next((match for pattern in _NO_WHEEL if (match := pattern.search(said))), None) if done.returncode else None
    if found is not None:
        raise UnsuitablePythonError(f"{found['package']} has no wheel for it")
    sys.stderr.write(done.stderr)
    return done.returncode == 0


def pip(*arguments: str) -> bool:
    """Install with pip and verify hashes; whether it succeeded."""
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--require-hashes", "--no-deps", "--only-binary=:all:", *arguments]
    return run([*command, "--quiet", "--disable-pip-version-check", "--no-input"])


def pip_settings(listed: str) -> dict[str, str]:
    """Settings by name from the output of ``pip config list``; the environment wins over files, ``install`` over ``global``."""
    ranks = {"global": 0, "install": 1, ":env:": 2}
    found: dict[str, tuple[int, str]] = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        with contextlib.suppress(ValueError, SyntaxError):
            rank, text = ranks.get(section, -1), str(ast.literal_eval(value))
            if rank >= found.get(key, (0, ""))[0]:
                found[key] = (rank, text)
    return {key: text for key, (_, text) in found.items()}


def uv_arguments(settings: Mapping[str, str]) -> list[str]:
    """Uv's arguments for pip's settings, which uv does not read."""
    arguments = []
    for key, flag in (("index-url", "--default-index"), ("extra-index-url", "--index"), ("find-links", "--find-links")):
        for value in settings.get(key, "").split():
            arguments += [flag, value]
    for host in settings.get("trusted-host", "").split():
        arguments += ["--allow-insecure-host", host]
    return [*arguments, *(["--no-index"] if settings.get("no-index", "").lower() in {"1", "true", "yes"} else [])]


def uv(lock_file: Path, development: Path) -> bool:
    """Install uv with pip, and ``lock_file`` with uv; whether it succeeded.

    uv also verifies the hashes. It is faster because it caches unpacked packages next to the tools and links them into further checkouts,
    and because modules are compiled when they are first imported instead of all at once (tens of thousands).
    """
    lines, program = uv_lines(development), VENV / "bin" / "uv"
    if lines is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        only = Path(folder) / "uv.txt"
        only.write_text(lines, encoding="utf-8")
        if not pip("--no-compile", "--requirement", str(only)) or not program.exists():
            return False
    listed = subprocess.run([str(VENV / "bin" / "python"), "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    settings = pip_settings(listed.stdout)
    environment = {"UV_CACHE_DIR": str(cache_root() / "uv"), "UV_PYTHON_DOWNLOADS": "never", **os.environ}
    if "cert" in settings:
        environment.setdefault("SSL_CERT_FILE", settings["cert"])
    command = [str(program), "pip", "install", "--python", str(VENV / "bin" / "python"), "--require-hashes", "--no-deps", "--quiet"]
    command += ["--only-binary", ":all:", *uv_arguments(settings), "--requirement", str(lock_file)]
    if not run(command, environment):
        say("uv failed (see its message above): trying pip")
        return False
    return True


def install(lock_file: Path) -> None:
    """Install ``lock_file``, verify hashes, and write the stamp."""
    say(f"Installing the Python packages of {lock_file.name} into .venv (a minute or two the first time)")
    began = time.monotonic()
    development = lock_file if lock_file.stem.endswith("-dev") else lock_file.with_name(f"{lock_file.stem}-dev.lock")
    if not uv(lock_file, development) and not pip("--requirement", str(lock_file)):
        sys.exit(
            f"pip could not install {lock_file.name}; see its message above. It needs a package index (set PIP_INDEX_URL for a mirror) "
            "and about 1 GB in the checkout. Run the same command again: downloads are kept."
        )
    for old in VENV.glob(f".installed-{lock_file.stem}-????????????????"):
        old.unlink()
    stamp(lock_file).touch()
    say(f"Installed in {time.monotonic() - began:.0f} s")


def older_python() -> str | None:
    """The newest Python on PATH that is older than this one and new enough."""
    for minor in range(sys.version_info[1] - 1, _OLDEST_MINOR - 1, -1):
        found = shutil.which(f"python3.{minor}")
        if found is not None:
            return found
    found = shutil.which("python3")
    check = f"import sys; sys.exit(not (3, {_OLDEST_MINOR}) <= sys.version_info[:2] < {tuple(sys.version_info[:2])})"
    return found if found is not None and subprocess.run([found, "-c", check], check=False).returncode == 0 else None


def hand_over(python: str) -> NoReturn:
    """Run this script with another Python instead."""
    sys.stderr.flush()
    os.execv(python, [python, __file__, *sys.argv[1:]])  # noqa: S606 (no shell)


def main(arguments: list[str]) -> None:
    """Bring .venv up to date with the lock file."""
    lock_file = ROOT / (arguments[0] if arguments else "requirements.lock")
    if is_done(lock_file) and (VENV / "bin" / "python").exists():
        return
    VENV.mkdir(exist_ok=True)
    # For either lock: a Python that can't install the development lock would be replaced and come back with every other command.
    if any(unsuitable(one).exists() for one in both_locks(lock_file)) and (other := older_python()) is not None:
        hand_over(other)
    try:
        with LOCK.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Another make is installing into .venv: waiting for it")
                fcntl.flock(lock, fcntl.LOCK_EX)
            os.environ.pop("PYTHONHOME", None)
            if not works(VENV / "bin" / "python"):
                make_environment()
            if not is_done(lock_file):
                install(lock_file)
    except UnsuitablePythonError as error:
        unsuitable(lock_file).touch()
        other = older_python()
        if other is None:
            sys.exit(
                f"Python {_version()} ({sys.executable}) can't be used: {error}, and PATH has no older one. Install "
                f"Python 3.{_OLDEST_MINOR} or newer (with python3.{_OLDEST_MINOR}-venv on Debian or Ubuntu), "
                "or name one: make PYTHON=/path/to/python."
            )
        say(f"Python {_version()} can't be used: {error}. Using {other} instead")
        hand_over(other)


if __name__ == "__main__":
    main(sys.argv[1:])
