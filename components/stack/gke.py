"""What other sections of a stack file have against a GKE cluster, found before anything is made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from components.base.errors import Problem
from components.gke.settings.node_pools import only_hyperdisk
from components.images.settings import original

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from components.gke.settings.cluster import GkeClusterSettings
    from components.gpu.settings import DcgmSettings
    from components.images.settings import BuildImageSettings, MirrorImageSettings
    from components.monitoring.settings import PrometheusSettings
    from components.repository.settings import RepositorySettings
    from components.serving.settings import ServingSettings

_TRITON_RELEASE: Final = re.compile(r"tritonserver:(?P<year>\d{2})\.(?P<month>\d{2})(-|\Z)")
_FIRST_KEYLESS: Final = (23, 3)
"""Releases 22.08 to 23.02 can't take a token of the metadata server (triton-inference-server/server#5039, #5567)."""
_GOOGLE_REGISTRIES: Final = ("docker.pkg.dev", "gcr.io")


def in_google_registry(image: str) -> bool:
    """Whether an image comes from a registry of Google Cloud's, which nodes reach without a way out and with their own identity."""
    host = image.split("/", maxsplit=1)[0]
    return "/" in image and host.endswith(_GOOGLE_REGISTRIES)


def stack_problems(
    cluster: GkeClusterSettings,
    *,
    repository: RepositorySettings,
    prometheus: PrometheusSettings,
    dcgm: DcgmSettings,
    serving: Sequence[ServingSettings],
    images: Sequence[BuildImageSettings | MirrorImageSettings] = (),
) -> Iterator[Problem]:
    """Yield what would fail, or run and never work, on this cluster. ``images`` are those of the stack's own."""
    yield from _models(repository, serving, images)
    if dcgm.enabled and "dcgm" in cluster.monitoring:
        yield Problem(
            at=("cluster", "monitoring"),
            text="has dcgm, GKE's own exporter, and dcgm.enabled is true: two would ask each GPU and share its counters. Keep one.",
            also=(("dcgm", "enabled"),),
        )
    if only_hyperdisk(cluster.cpu_pool.machine_type) and prometheus.storage is not None and prometheus.storage_class is None:
        yield Problem(
            at=("prometheus", "storage_class"),
            text=f"is missing, and GKE's default one makes pd-balanced volumes, which {cluster.cpu_pool.machine_type} takes none of: "
            "Prometheus would never start. Name a class for hyperdisk-balanced, or take c3-standard-4 in cluster.cpuPool.",
            also=(("cluster", "cpu_pool"), ("prometheus", "storage")),
        )
    network, own = cluster.network, {entry.name for entry in images}
    for index, entry in enumerate(serving):
        if network.kind == "create" and network.nat == "none" and entry.image not in own and not in_google_registry(entry.image):
            yield Problem(
                at=("serving", index, "image"),
                text=f"({entry.image}) is in no registry of Google's, and cluster.network.nat is none: no node could pull it. Mirror it "
                "(images), or set nat to one.",
                also=(("cluster", "network"),),
            )


def _models(
    repository: RepositorySettings, serving: Sequence[ServingSettings], images: Sequence[BuildImageSettings | MirrorImageSettings]
) -> Iterator[Problem]:
    if repository.credentials != "serviceAccount":
        return
    if repository.store == "s3" and repository.endpoint is None and repository.cluster_endpoint is None:
        yield Problem(
            at=("repository", "credentials"),
            text="is serviceAccount with store: s3 on GKE: AWS knows no service account of this cluster, and Triton would read nothing. "
            "Set store: gcs, or credentials: environment.",
            also=(("repository", "store"), ("cluster", "provider")),
        )
    if repository.store != "gcs":
        return
    for index, entry in enumerate(serving):
        match = _TRITON_RELEASE.search(original(entry.image, images))
        if match is not None and (int(match["year"]), int(match["month"])) < _FIRST_KEYLESS:
            yield Problem(
                at=("serving", index, "image"),
                text=f"({entry.image}) is older than 23.03, the first that reads a bucket without a key: it would ask for the models as "
                "nobody and find none. Take a newer one.",
                also=(("repository", "store"), ("repository", "credentials")),
            )
