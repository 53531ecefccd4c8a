"""Tools that the machine already has: which version on PATH is accepted, and why not."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.toolchain.process import run

if TYPE_CHECKING:
    from local.toolchain.units import OnPath

_VERSION_TIMEOUT_S: Final = 20.0


def why_unfit(program: str, check: OnPath) -> str | None:
    """Why the file ``program`` is not used, for the user; None if it is accepted."""
    try:
        printed = run([program, *check.arguments], env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}, timeout_s=_VERSION_TIMEOUT_S)
    except OSError as error:
        return f"{program} can't be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        return f"{program} does not print its version within {_VERSION_TIMEOUT_S:g} s"
    match = re.search(rf"{re.escape(check.prefix)}(\d+)\.(\d+)", f"{printed.stdout}\n{printed.stderr}")
    if match is None:
        return f"{program} does not print its version"
    version = (int(match[1]), int(match[2]))
    if not check.minimum <= version < check.below:
        wanted = f"{_dotted(check.minimum)} or newer, below {_dotted(check.below)}"
        return f"{program} is version {_dotted(version)}; {check.needed} needs {wanted}"
    missing = [name for name in check.companions if not (Path(program).parent / name).exists()]
    if missing:
        return f"{program} has no {', '.join(missing)} in its folder"
    return None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)
