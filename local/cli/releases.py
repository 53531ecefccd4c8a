"""Remove Helm releases that a killed run left and that no plugin would continue."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local.cli import kubernetes_plugin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from local.cli.backend import Pending
    from local.progress import TerminalReporter

LIST: Final = ("list", "--all-namespaces", "--deployed", "--failed", "--pending", "--uninstalling", "--output", "json")
"""Lists every release that holds a name. By default Helm 3 lists only some of them, and Helm 4 has no --all."""


def remove(operations: Sequence[Pending], environment: Mapping[str, str], reporter: TerminalReporter) -> None:
    """Uninstall releases that were being created when the engine was killed and that the state does not list.

    With Pulumi's own Kubernetes plugin their names would stay "in use". This project's plugin continues its own releases
    (local/plugins/kubernetes/helm_release.py), so that pods that already run are kept.
    """
    wanted = {
        (one.inputs.get("name"), one.inputs.get("namespace"))
        for one in operations
        if one.kind == "creating" and "kubernetes:helm.sh/v3:Release::" in one.urn
    }
    if not wanted or kubernetes_plugin.installed(Path(environment["PULUMI_HOME"])).kind != "official":
        return
    helm = shutil.which("helm", path=environment.get("PATH"))
    if helm is None:
        reporter.note("Without `helm` on PATH, Helm releases of the killed run can't be removed: `pulumi up` will find their names in use")
        return
    listed = _run(helm, LIST, environment)
    if listed.returncode:
        reporter.note(f"Helm releases of the killed run can't be listed: {listed.stderr.strip()}")
        return
    found: list[dict[str, Any]] = json.loads(listed.stdout or "[]")
    for release in found:
        name, namespace = release["name"], release["namespace"]
        if (name, namespace) in wanted:
            reporter.note(f"Removing Helm release {name} ({release['status']}) of the killed run")
            done = _run(helm, ("uninstall", name, "--namespace", namespace, "--wait", "--timeout", "2m"), environment)
            if done.returncode:
                reporter.note(f"It could not be removed, and `pulumi up` will find its name in use: {done.stderr.strip()}")


def _run(helm: str, arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm, *arguments], env=dict(environment), capture_output=True, text=True, check=False)
