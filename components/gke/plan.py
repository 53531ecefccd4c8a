"""What a GKE control plane is made of, decided purely: APIs, kubeconfig, maintenance window, names of components, administrators."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.gke.settings.cluster import GkeClusterSettings
    from components.gke.settings.maintenance import MaintenanceSettings

PLUGIN: Final = "gke-gcloud-auth-plugin"
_MONDAY: Final = "2026-01-05"
"""A day to write a weekly window from; which one doesn't matter, but a changed one shows in each preview."""
_LOGS: Final = {
    "system": "SYSTEM_COMPONENTS",
    "workloads": "WORKLOADS",
    "api": "APISERVER",
    "scheduler": "SCHEDULER",
    "controllerManager": "CONTROLLER_MANAGER",
}
_MONITORING: Final = {"system": "SYSTEM_COMPONENTS", "api": "APISERVER", "controllerManager": "CONTROLLER_MANAGER"}
"""Those that are not their own names in capitals."""
SCOPES: Final = {
    "noUpgrades": "NO_UPGRADES",
    "noMinorUpgrades": "NO_MINOR_UPGRADES",
    "noMinorOrNodeUpgrades": "NO_MINOR_OR_NODE_UPGRADES",
}


def apis(settings: GkeClusterSettings) -> tuple[str, ...]:
    """APIs that a stack uses, without ``.googleapis.com``."""
    names = ["compute", "container", "iam", "iamcredentials", "cloudresourcemanager", "storage", "logging", "monitoring"]
    if settings.image_repository is not None or any(pool.streams for pool in settings.gpu_pools):
        names.append("artifactregistry")
    if any(pool.streams for pool in settings.gpu_pools):
        names.append("containerfilesystem")
    if settings.secrets_key != "none" or settings.disk_key is not None:
        names.append("cloudkms")
    return tuple(names)


def kubeconfig(name: str, server: str, authority: str | None) -> str:
    """Kubeconfig (JSON) that asks Google's plugin for a token at each use: a token in it would end after an hour.

    Args:
        name: Name of cluster, user and context.
        server: Host of the API server, with its port where that is not 443.
        authority: Its certificate authority in base64; None where the certificate is one that everybody knows (DNS endpoint).
    """
    cluster = {"server": f"https://{server}"}
    if authority is not None:
        cluster["certificate-authority-data"] = authority
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": PLUGIN,
            "installHint": "gcloud components install gke-gcloud-auth-plugin",
            "provideClusterInfo": True,
            "interactiveMode": "Never",
        }
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": cluster}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "users": [{"name": name, "user": user}],
    }
    return json.dumps(content, sort_keys=True)


def log_components(parts: Sequence[str]) -> list[str]:
    """What goes to Cloud Logging, as GKE calls it."""
    return [_LOGS[part] for part in parts]


def monitoring_components(parts: Sequence[str]) -> list[str]:
    """What goes to Cloud Monitoring, as GKE calls it."""
    return [_MONITORING.get(part, part.upper()) for part in parts]


def window(settings: MaintenanceSettings) -> tuple[str, str, str]:
    """Beginning and end of the first window, and how it recurs (RFC 5545). Times are UTC."""
    hour, minute = map(int, settings.start.split(":"))
    last = hour + settings.hours
    end_day = _MONDAY if last < 24 else f"{_MONDAY[:-2]}{int(_MONDAY[-2:]) + 1:02d}"  # noqa: PLR2004  # hours of a day
    days = ",".join(dict.fromkeys(settings.days))
    return f"{_MONDAY}T{settings.start}:00Z", f"{end_day}T{last % 24:02d}:{minute:02d}:00Z", f"FREQ=WEEKLY;BYDAY={days}"


def admin_subjects(admins: Sequence[str]) -> list[dict[str, str]]:
    """Subjects of a ClusterRoleBinding: GKE knows Google's accounts by their addresses."""
    found = []
    for member in admins:
        kind, _, address = member.partition(":")
        found.append({"kind": "Group" if kind == "group" else "User", "name": address, "apiGroup": "rbac.authorization.k8s.io"})
    return found
