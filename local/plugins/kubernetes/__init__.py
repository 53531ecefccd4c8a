"""A Pulumi `kubernetes` resource provider, for machines that can't download the official plugin.

It implements Pulumi's provider protocol and behaves like the official provider 4.34.2 for everything that this project uses: objects by
server-side apply, Helm releases with real Helm, charts and manifests as components. docs/plugin.md lists the differences.

`official_available` tells whether it is needed, `write_launcher` writes the executable for `pulumi plugin install --file`, and `install`
installs it.
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
"""Version of the official provider that this one reproduces, and of the SDK (requirements.in)."""

PLUGIN: Final = "pulumi-resource-kubernetes"

_OFFICIAL_HOST: Final = ("get.pulumi.com", 443)
_OFFICIAL_SIZE: Final = 10_000_000  # bytes; the official executable has over 100 MB, the launcher a few hundred bytes


def plugin_folder(pulumi_home: Path) -> Path:
    """Folder of this plugin in PULUMI_HOME."""
    return pulumi_home / "plugins" / f"resource-kubernetes-v{VERSION}"


def official_installed(pulumi_home: Path) -> bool:
    """Whether the official plugin of this version is in PULUMI_HOME; this one's launcher, a small script, does not count."""
    executable = plugin_folder(pulumi_home) / PLUGIN
    return executable.is_file() and executable.stat().st_size > _OFFICIAL_SIZE


def official_available(*, timeout_s: float = 3.0) -> bool:
    """Whether the official plugin can be downloaded: Pulumi's server accepts a connection within `timeout_s` seconds."""
    try:
        with socket.create_connection(_OFFICIAL_HOST, timeout=timeout_s):
            return True
    except OSError:
        return False


def write_launcher(folder: Path, *, python: Path | None = None) -> Path:
    """Write the executable that starts this plugin, and return its path.

    Pulumi copies the file, so it contains the paths of the Python and of this checkout. Written atomically, and only if it changes.

    Args:
        folder: Where to put `pulumi-resource-kubernetes`; created if missing. Outside the checkout, because the file has paths of this
            machine.
        python: The interpreter with the project's packages; the running one by default.
    """
    main = Path(__file__).resolve().parent / "__main__.py"
    # sys.executable unresolved: a virtual environment's python is a link, and resolving it would lose the environment.
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
    """Install this plugin into a PULUMI_HOME, unless it is installed already.

    Args:
        pulumi: The Pulumi CLI.
        pulumi_home: The PULUMI_HOME; an official plugin in it is kept.
        folder: For the launcher.
        environment: The CLI's environment, without PULUMI_HOME.

    Returns:
        The executable that Pulumi starts.

    Raises:
        subprocess.CalledProcessError: Pulumi refuses the file; its message is in `stderr`.
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
