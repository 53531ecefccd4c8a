"""A Pulumi `kubernetes` resource provider, for machines where the official plugin can't be had.

It serves Pulumi's provider protocol and gives the results of the official provider 4.34.2 for what this project uses: every kind of
object by server-side apply, Helm releases by real Helm, charts and manifests as components. docs/plugin.md says what it does otherwise.

`official_available` tells whether it is needed, `write_launcher` makes the executable that `pulumi plugin install --file` takes,
`install` does both.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = "4.34.2"
"""Of the official provider whose results these are, and of the SDK that the program uses (requirements.in)."""

PLUGIN: Final = "pulumi-resource-kubernetes"

_OFFICIAL_HOST: Final = ("get.pulumi.com", 443)
_OFFICIAL_SIZE: Final = 10_000_000  # bytes; the official executable has over 100 MB, our launcher some hundred bytes


def plugin_folder(pulumi_home: Path) -> Path:
    """Where Pulumi keeps this plugin."""
    return pulumi_home / "plugins" / f"resource-kubernetes-v{VERSION}"


def official_installed(pulumi_home: Path) -> bool:
    """Whether the official plugin of this version is in a PULUMI_HOME (ours, a small script, does not count)."""
    executable = plugin_folder(pulumi_home) / PLUGIN
    return executable.is_file() and executable.stat().st_size > _OFFICIAL_SIZE


def official_available(*, timeout_s: float = 3.0) -> bool:
    """Whether the official plugin could be downloaded: Pulumi's download server takes a connection within `timeout_s` seconds."""
    try:
        with socket.create_connection(_OFFICIAL_HOST, timeout=timeout_s):
            return True
    except OSError:
        return False


def write_launcher(folder: Path, *, python: Path | None = None) -> Path:
    """Write the executable that starts this plugin, and return its path.

    Pulumi copies the file that it is given, so it can't find the code by its own place: it names this Python and this checkout. Written
    atomically, and only when it would change.

    Args:
        folder: Where to put `pulumi-resource-kubernetes`; made if it is missing. Outside the checkout: the file names paths of this
            machine.
        python: The interpreter with the project's packages; the running one by default.
    """
    main = Path(__file__).resolve().parent / "__main__.py"
    # sys.executable unresolved: a virtual environment's python is a link, and following it would lose the environment.
    text = f'#!/bin/sh\nexec {shlex.quote(str(python or sys.executable))} -P {shlex.quote(str(main))} "$@"\n'
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PLUGIN
    if not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != text:
        new = folder / f".{PLUGIN}.{os.getpid()}"
        new.write_text(text, encoding="utf-8")
        new.chmod(0o755)
        new.replace(path)
    return path


def install(pulumi: Path, pulumi_home: Path, folder: Path, *, environment: Mapping[str, str] | None = None) -> Path:
    """Put this plugin into a PULUMI_HOME, unless it is there already.

    Args:
        pulumi: The Pulumi CLI.
        pulumi_home: The PULUMI_HOME; the official plugin in it is left alone.
        folder: Where the launcher is written.
        environment: Of the CLI, beside PULUMI_HOME.

    Returns:
        The executable that Pulumi will start.

    Raises:
        subprocess.CalledProcessError: Pulumi refused the file; its words are in `stderr`.
    """
    installed = plugin_folder(pulumi_home) / PLUGIN
    if official_installed(pulumi_home):
        return installed
    launcher = write_launcher(folder)
    if not installed.is_file() or installed.read_bytes() != launcher.read_bytes():
        subprocess.run(
            [str(pulumi), "plugin", "install", "resource", "kubernetes", f"v{VERSION}", "--reinstall", "--file", str(launcher)],
            env={
                **(os.environ if environment is None else environment),
                "PULUMI_HOME": str(pulumi_home),
                "PULUMI_SKIP_UPDATE_CHECK": "true",
            },
            check=True,
            capture_output=True,
            text=True,
        )
    return installed
