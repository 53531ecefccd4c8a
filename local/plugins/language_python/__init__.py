"""A Python language host for machines that can't download Pulumi's own, and its launcher.

Pulumi's release archive contains the official host next to the CLI. A CLI that is built from its Go module has none: the host is a
separate module that no registry has.
"""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import Final

NAME: Final = "pulumi-language-python"
HOST: Final = Path(__file__).with_name("__main__.py")


def official(cli: Path, search_path: str | None = None) -> Path | None:
    """Pulumi's own language host: in the folder of ``cli`` (links resolved), else on ``search_path`` (PATH by default), else None.

    Ignores launchers written by `install`.
    """
    candidates = [cli.resolve().parent / NAME]
    entries = (os.environ.get("PATH", "") if search_path is None else search_path).split(os.pathsep)
    candidates += [Path(found) for entry in entries if entry and (found := shutil.which(NAME, path=entry))]
    return next((path for path in candidates if os.access(path, os.X_OK) and path.is_file() and not is_ours(path)), None)


def is_ours(path: Path) -> bool:
    """Whether ``path`` is a launcher that `install` wrote."""
    try:
        with path.open("rb") as file:
            return b"triton-fleet launcher" in file.read(200)
    except OSError:
        return False


def install(folder: Path, python: Path) -> Path:
    """Write a launcher named pulumi-language-python into ``folder``, which runs the host with ``python``; return its path.

    Written to another name and renamed, so that an engine that starts it at the same time sees a complete file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    launcher = folder / NAME
    text = f'#!/bin/sh\n# triton-fleet launcher: rewritten by `make up`\nexec {shlex.quote(str(python))} -P {shlex.quote(str(HOST))} "$@"\n'
    if launcher.exists() and launcher.read_text(encoding="utf-8") == text:
        return launcher
    fresh = launcher.with_name(f".{NAME}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o755)
    fresh.replace(launcher)
    return launcher
