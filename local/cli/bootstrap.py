"""Make .venv from a lock file. Standard library only: this is what runs before anything is installed.

``bootstrap.py LOCKFILE`` leaves ``.venv`` with everything in the lock file, each package checked against its hash. A stamp named after the
lock's content makes a second run a matter of milliseconds. Two at once wait for each other; one that is killed leaves no stamp, so that the
next repairs it. Everything it says goes to standard error: ``eval "$(make -s env)"`` reads standard output.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
VENV: Final = ROOT / ".venv"
LOCK: Final = VENV / ".lock"


def say(text: str) -> None:
    """Write ``text`` to standard error."""
    print(text, file=sys.stderr, flush=True)


def stamp(lock_file: Path) -> Path:
    """Where the finished installation of ``lock_file`` is noted: its content's hash and the Python's version are in the name."""
    digest = hashlib.sha256(lock_file.read_bytes() + repr(sys.version_info[:2]).encode()).hexdigest()[:16]
    return VENV / f".installed-{lock_file.stem}-{digest}"


def is_done(lock_file: Path) -> bool:
    """Whether everything in ``lock_file`` is installed; what the larger development lock installed holds the smaller one too."""
    development = lock_file.with_name(f"{lock_file.stem}-dev.lock")
    return any(one.exists() and stamp(one).exists() for one in (lock_file, development))


def works(python: Path) -> bool:
    """Whether the environment's Python starts and has pip: after an upgrade of the system's Python it may not."""
    return python.exists() and subprocess.run([str(python), "-c", "import pip"], capture_output=True, check=False).returncode == 0


def make_environment() -> None:
    """Make .venv anew, keeping only our lock in it."""
    for entry in VENV.iterdir():
        if entry != LOCK:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True, check=False)
    if made.returncode:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        say(made.stdout + made.stderr)
        sys.exit(
            f"{sys.executable} could not make a virtual environment in {VENV}. On Debian and Ubuntu install python{version}-venv, "
            "then run the same command again."
        )


def install(lock_file: Path) -> None:
    """Install ``lock_file`` with pip, hashes checked, and note it."""
    say(f"Installing the Python packages of {lock_file.name} into .venv (about a minute, once)")
    began = time.monotonic()
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--require-hashes", "--no-deps", "--requirement", str(lock_file)]
    command += ["--quiet", "--disable-pip-version-check", "--no-input"]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
        sys.exit(
            f"pip could not install {lock_file.name}: its message is above. It needs a package index (PIP_INDEX_URL names a mirror) "
            "and about 1 GB in the checkout; run the same command again, what was downloaded is kept."
        )
    for old in VENV.glob(f".installed-{lock_file.stem}-????????????????"):
        old.unlink()
    stamp(lock_file).touch()
    say(f"Installed in {time.monotonic() - began:.0f} s")


def main(arguments: list[str]) -> None:
    """Bring .venv to the state of the lock file that is named."""
    lock_file = ROOT / (arguments[0] if arguments else "requirements.lock")
    if is_done(lock_file) and (VENV / "bin" / "python").exists():
        return
    VENV.mkdir(exist_ok=True)
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


if __name__ == "__main__":
    main(sys.argv[1:])
