"""What a GKE control plane consists of, derived from the settings: names, APIs, kubeconfig, administrators."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pulumi_kubernetes as k8s

    from components.gke.settings.cluster import GkeClusterSettings

PLUGIN: Final = "gke-gcloud-auth-plugin"
_COMPONENTS: Final = {"system": "SYSTEM_COMPONENTS", "api": "APISERVER", "controllerManager": "CONTROLLER_MANAGER"}
"""The others have their own names in capitals."""


def labels(settings: GkeClusterSettings) -> dict[str, str]:
    """Return the labels of everything in Google Cloud that can have labels."""
    return {**settings.tags, "triton-fleet-cluster": settings.name}


def network_tag(settings: GkeClusterSettings) -> str:
    """Return the network tag of the nodes, which firewall rules select them by."""
    return f"{settings.name}-node"


def apis(settings: GkeClusterSettings) -> tuple[str, ...]:
    """Return the Google APIs that the stack uses, without ``.googleapis.com``."""
    streaming = any(pool.streams for pool in settings.gpu_pools)
    names = ["compute", "container", "iam", "iamcredentials", "cloudresourcemanager", "storage", "logging", "monitoring"]
    if settings.image_repository is not None or streaming:
        names.append("artifactregistry")
    if streaming:
        names.append("containerfilesystem")
    if settings.secrets_key != "none" or settings.disk_key is not None:
        names.append("cloudkms")
    return tuple(names)


def component_names(parts: Sequence[str]) -> list[str]:
    """Return GKE's names of the components whose logs or metrics go to Google Cloud."""
    return [_COMPONENTS.get(part, part.upper()) for part in parts]


def kubeconfig(name: str, server: str, authority: str | None) -> str:
    """Return a kubeconfig (JSON) that gets tokens from Google's plugin: a token in it would expire after an hour.

    Args:
        name: Name of the cluster, user and context.
        server: Host of the API server, with a port unless that is 443.
        authority: The server's certificate authority in base64; None for a publicly trusted certificate (DNS endpoint).
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


def admin_subjects(admins: Sequence[str]) -> list[k8s.rbac.v1.SubjectArgsDict]:
    """Return the subjects of a ClusterRoleBinding: GKE knows Google's accounts by their e-mail addresses."""
    return [
        {"kind": "Group" if kind == "group" else "User", "name": address, "api_group": "rbac.authorization.k8s.io"}
        for kind, address in (member.split(":", maxsplit=1) for member in admins)
    ]
