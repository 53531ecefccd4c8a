"""Make .venv from a lock file. Standard library only: this is what runs before anything is installed.

``bootstrap.py LOCKFILE`` leaves ``.venv`` with everything in the lock file, each package checked against its hash. A stamp named after the
lock's content makes a second run a matter of milliseconds. Two at once wait for each other; one that is killed leaves no stamp, so that the
next repairs it. Everything it says goes to standard error: ``eval "$(make -s env)"`` reads standard output.
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
from typing import TYPE_CHECKING, Final

ROOT: Final = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # started as a script: the checkout's own packages are not found otherwise

from local.paths import cache_root  # noqa: E402 (after the path that it is found on)

if TYPE_CHECKING:
    from collections.abc import Mapping

VENV: Final = ROOT / ".venv"
LOCK: Final = VENV / ".bootstrap.lock"  # not ".lock": uv takes that one itself


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


def uv_lines(development: Path) -> str | None:
    """Lines of the development lock that name uv and its hashes."""
    text = development.read_text(encoding="utf-8") if development.exists() else ""
    found = re.search(r"^uv==[^\n]*\n(?: +--hash=[^\n]*\n?)*", text, re.MULTILINE)
    return None if found is None else found[0]


def pip(*arguments: str) -> bool:
    """Install with pip, hashes checked; whether it went well."""
    command = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--require-hashes", "--no-deps", *arguments]
    command += ["--quiet", "--disable-pip-version-check", "--no-input"]
    return subprocess.run(command, stdout=sys.stderr, check=False).returncode == 0


def pip_settings(listed: str) -> dict[str, str]:
    """What ``pip config list`` printed, name to value; the environment wins over files, ``install`` over ``global``."""
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
    """Settings of pip in the words of uv, which reads none of them."""
    arguments = []
    for key, flag in (("index-url", "--default-index"), ("extra-index-url", "--index"), ("find-links", "--find-links")):
        for value in settings.get(key, "").split():
            arguments += [flag, value]
    for host in settings.get("trusted-host", "").split():
        arguments += ["--allow-insecure-host", host]
    return [*arguments, *(["--no-index"] if settings.get("no-index", "").lower() in {"1", "true", "yes"} else [])]


def uv(lock_file: Path, development: Path) -> bool:
    """Install ``lock_file`` with uv, which pip gets first; whether it went well.

    The hashes are checked all the same. What makes the difference: unpacked packages are kept beside the tools and linked into a further
    checkout, in seconds; and modules are compiled when they are first imported instead of all at once (tens of thousands).
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
    command += [*uv_arguments(settings), "--requirement", str(lock_file)]
    if subprocess.run(command, env=environment, stdout=sys.stderr, check=False).returncode:
        say("uv could not install it (its message is above): trying with pip")
        return False
    return True


def install(lock_file: Path) -> None:
    """Install ``lock_file``, hashes checked, and note it."""
    say(f"Installing the Python packages of {lock_file.name} into .venv (a minute or two the first time)")
    began = time.monotonic()
    development = lock_file if lock_file.stem.endswith("-dev") else lock_file.with_name(f"{lock_file.stem}-dev.lock")
    if not uv(lock_file, development) and not pip("--requirement", str(lock_file)):
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
