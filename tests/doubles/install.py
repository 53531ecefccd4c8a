"""Puts a double where the engine looks for the official plugin: `PULUMI_HOME/plugins/resource-NAME-vVERSION`."""

from __future__ import annotations

import importlib.util
import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.doubles import FOLDER_VARIABLE, PACE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAIN: Final = Path(__file__).resolve().parent / "__main__.py"


def sdk_version(name: str) -> str:
    """Version of the plugin that the installed SDK asks the engine for, such as ``7.51.1``.

    Raises:
        LookupError: The SDK is not installed.
    """
    spec = importlib.util.find_spec(f"pulumi_{name.replace('-', '_')}")
    if spec is None or spec.origin is None:
        message = f"the package pulumi_{name} is not installed: nobody says which version of its plugin a program asks for"
        raise LookupError(message)
    return str(json.loads(Path(spec.origin).with_name("pulumi-plugin.json").read_text(encoding="utf-8"))["version"])


def install(pulumi_home: Path, name: str, double: str, *, version: str | None = None, python: Path | None = None) -> Path:
    """Write the executable that starts a double; the engine takes it for the plugin ``name``.

    Args:
        pulumi_home: PULUMI_HOME of the engine.
        name: The plugin's, such as ``aws``.
        double: Where the class of the double is, as ``tests.doubles.aws.provider:Aws``.
        version: Of the plugin; the installed SDK's by default.
        python: The interpreter with the project's packages; the running one by default.

    Returns:
        The executable.
    """
    folder = pulumi_home / "plugins" / f"resource-{name}-v{version or sdk_version(name)}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"pulumi-resource-{name}"
    # sys.executable unresolved: a virtual environment's python is a link, and following it would lose the environment.
    command = [str(python or sys.executable), "-P", str(_MAIN), double]
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def environment(folder: Path, *, pace: float = 0.0) -> dict[str, str]:
    """What the engine's environment must have beside its own variables.

    Args:
        folder: The folder that the doubles of a run share: of a test's own, and the same in all commands on one stack.
        pace: Seconds here for one second of the real cloud.
    """
    return {FOLDER_VARIABLE: str(folder), PACE_VARIABLE: str(pace)}


def install_all(pulumi_home: Path, doubles: Iterable[tuple[str, str]], *, python: Path | None = None) -> None:
    """`install` each (name, double)."""
    for name, double in doubles:
        install(pulumi_home, name, double, python=python)
