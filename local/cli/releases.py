"""Helm releases that a killed run left, where nothing else takes them up."""

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
"""Arguments for all that holds a name. Helm 3 lists only some of them by itself; its --all is no flag of Helm 4's."""


def remove(operations: Sequence[Pending], environment: Mapping[str, str], reporter: TerminalReporter) -> None:
    """Uninstall releases that were being made when the engine was killed and that the state does not know.

    To Pulumi's own Kubernetes plugin their names are "still in use" for ever. Ours goes on with what it has begun itself
    (local/plugins/kubernetes/helm_release.py), and pods that run already stay.
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
        reporter.note("Without `helm` on PATH what a killed run left of Helm releases stays: `pulumi up` will call their names in use")
        return
    listed = _run(helm, LIST, environment)
    if listed.returncode:
        reporter.note(f"What a killed run left of Helm releases can't be told: {listed.stderr.strip()}")
        return
    found: list[dict[str, Any]] = json.loads(listed.stdout or "[]")
    for release in found:
        name, namespace = release["name"], release["namespace"]
        if (name, namespace) in wanted:
            reporter.note(f"Removing Helm release {name} ({release['status']}), which the killed run left")
            done = _run(helm, ("uninstall", name, "--namespace", namespace, "--wait", "--timeout", "2m"), environment)
            if done.returncode:
                reporter.note(f"It was not removed, and `pulumi up` will call its name in use: {done.stderr.strip()}")


def _run(helm: str, arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([helm, *arguments], env=dict(environment), capture_output=True, text=True, check=False)
