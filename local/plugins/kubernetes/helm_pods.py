"""Why a Helm release does not become ready: what its pods report, while Helm waits and after it failed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from local.plugins.kubernetes import manifests, naming
from local.plugins.kubernetes.errors import ApiError, NoSuchKind, Unreachable
from local.plugins.kubernetes.judge import State, judge
from local.plugins.kubernetes.podlook import POD, pod_reasons, pod_troubles

if TYPE_CHECKING:
    from local.plugins.kubernetes.client import Client
    from local.plugins.kubernetes.provider import Provider

_POD_KINDS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "Job", "Pod"})
_REASONS = 6
_LOOK_EVERY_S = 3.0


class PodWatch:
    """Shows what Helm waits for: the pods of the namespace that are not ready, and why."""

    def __init__(self, provider: Provider, urn: str, namespace: str) -> None:
        self._provider = provider
        self._urn = urn
        self._namespace = namespace
        self._looked = time.monotonic()
        self.troubles: list[str] = []

    def __call__(self, text: str) -> None:
        """Show Helm's progress, with the first problem of the pods."""
        client = self._provider.client
        if self._namespace and client is not None and time.monotonic() - self._looked > _LOOK_EVERY_S:
            try:
                pods = client.list(POD, self._namespace)
            except (ApiError, Unreachable, NoSuchKind):
                pods = []
            found = [(item, pod_troubles(item)) for item in pods if not item["metadata"].get("deletionTimestamp")]
            lines = [f"pod {naming.object_id(item)}: {'; '.join(troubles)}" for item, troubles in found if troubles]
            if lines or pods:
                self.troubles = lines[:_REASONS]
            self._looked = time.monotonic()
        self._provider.log.status(self._urn, f"helm {text}" + (f" ({self.troubles[0]})" if self.troubles else ""))


def release_reasons(manifest: str, namespace: str, client: Client | None) -> list[str]:
    """Why the objects of a release are not ready, with their pods' reasons and logs. Never raises: it explains an earlier failure."""
    if client is None:
        return []
    reasons: list[str] = []
    try:
        objects = manifests.expand(manifests.load(manifest))
    except manifests.ManifestError:
        return []
    for obj in objects:
        kind = naming.kind_of(obj)
        if kind.kind not in _POD_KINDS:
            continue
        space = (obj.get("metadata") or {}).get("namespace") or namespace
        try:
            live = client.get(kind, space, obj["metadata"]["name"])
            verdict = judge(live, client)
        except (ApiError, NoSuchKind, Unreachable, KeyError):
            continue
        if verdict.state is not State.READY:
            reasons += [
                f"{kind.kind} {space}/{obj['metadata']['name']}: {verdict.message}",
                *pod_reasons(live, client, logs=True),
            ]
    return reasons[:_REASONS]
