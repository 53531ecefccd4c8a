"""Choose the Kubernetes plugin: Pulumi's own if it can be downloaded, else `local.plugins.kubernetes`."""

from __future__ import annotations

import importlib.util
import json
import platform
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from local.cli.errors import CommandError
from local.plugins import kubernetes as ours

if TYPE_CHECKING:
    from local.cli.pulumi import Pulumi
    from local.progress import TerminalReporter

NAME: Final = "kubernetes"
ORIGIN: Final = {
    "official": "Pulumi's own",
    "ours": "this project's (local/plugins/kubernetes), because Pulumi's own can't be downloaded",
    "none": "not installed",
}
_REACH_S: Final = 3.0
"""Short, because a machine without internet access waits this long."""


@dataclass(frozen=True, kw_only=True)
class Installed:
    """The plugin in PULUMI_HOME."""

    version: str
    kind: Literal["official", "ours", "none"]
    file: Path


def wanted_version() -> str:
    """Version of the plugin that the installed pulumi_kubernetes needs, such as ``4.34.2``. Raises CommandError without the package."""
    spec = importlib.util.find_spec("pulumi_kubernetes")
    if spec is None or spec.origin is None:
        message = "The Python package pulumi-kubernetes is not installed: the plugin's version is unknown. Delete .venv and run make again."
        raise CommandError(message)
    said = json.loads(Path(spec.origin).with_name("pulumi-plugin.json").read_text(encoding="utf-8"))
    return str(said["version"])


def installed(pulumi_home: Path) -> Installed:
    """The plugin of the wanted version in PULUMI_HOME."""
    version = wanted_version()
    file = pulumi_home / "plugins" / f"resource-{NAME}-v{version}" / f"pulumi-resource-{NAME}"
    if not file.exists():
        return Installed(version=version, kind="none", file=file)
    with file.open("rb") as opened:
        script = opened.read(2) == b"#!"
    return Installed(version=version, kind="ours" if script else "official", file=file)


def is_reachable(version: str) -> bool:
    """Whether this machine can download the plugin from Pulumi's server."""
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    name = f"pulumi-resource-{NAME}-v{version}-{platform.system().lower()}-{architecture}.tar.gz"
    request = urllib.request.Request(f"https://get.pulumi.com/releases/plugins/{name}", method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_REACH_S) as answer:  # noqa: S310 (a constant https:// URL)
            return bool(answer.status == 200)  # noqa: PLR2004
    except (OSError, urllib.error.URLError, ValueError):
        return False


def ensure(pulumi: Pulumi, pulumi_home: Path, reporter: TerminalReporter) -> Installed:
    """Install the plugin if it is missing, or reinstall this project's if the checkout has moved; return which one is installed."""
    now = installed(pulumi_home)
    if now.kind == "official":
        return now
    launcher = ours.write_launcher(pulumi_home.parent / "plugin")
    if now.kind == "ours" and now.file.read_bytes() == launcher.read_bytes():
        return now
    version = f"v{now.version}"
    if now.kind == "none" and is_reachable(now.version):
        if pulumi.run("plugin", "install", "resource", NAME, version, check=False).returncode == 0:
            return installed(pulumi_home)
        reporter.note("Pulumi's server is reachable, but the download of the Kubernetes plugin failed: using the one in local/plugins")
    pulumi.run("plugin", "install", "resource", NAME, version, "--reinstall", "--file", str(launcher))
    return installed(pulumi_home)
