"""Rules between sections of the stack file: what is valid by itself and would fail, or never work, together."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

from components.base.errors import Problem
from components.eks.settings.cluster import EksClusterSettings
from components.existing.settings import ExistingClusterSettings
from components.gke.settings.cluster import GkeClusterSettings
from components.gke.settings.node_pools import only_hyperdisk
from components.images.settings import PLATFORMS, original
from components.stack.capacity import architectures, capacity_problems
from components.stack.metrics import metric_problems

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from components.base.errors import FieldPath
    from components.stack.settings import Settings

_MIN_STARTUP_S: Final = 10
"""tritonserver takes some seconds before it looks at the first model, and a probe runs every few seconds."""
_MAX_DRAIN_S: Final = 3600
"""The longest that managed node groups wait before they end a node. GKE: "respects PodDisruptionBudget and graceful termination for up to
one hour"."""
_TRITON_RELEASE: Final = re.compile(r"tritonserver:(?P<year>\d{2})\.(?P<month>\d{2})(-|\Z)")
_FIRST_KEYLESS: Final = (23, 3)
"""Releases 22.08 to 23.02 can't use a token of the metadata server (triton-inference-server/server#5039, #5567)."""
_GOOGLE_REGISTRIES: Final = ("docker.pkg.dev", "gcr.io")


def stack_problems(settings: Settings) -> Iterator[Problem]:
    """Yield everything that is wrong between sections."""
    yield from _serving(settings)
    yield from _node_ports(settings)
    yield from _models(settings)
    yield from _images(settings)
    yield from _addons(settings)
    yield from metric_problems(settings)
    if isinstance(settings.cluster, GkeClusterSettings):
        yield from _gke(settings, settings.cluster)
    if not isinstance(settings.cluster, ExistingClusterSettings):
        yield from capacity_problems(settings.cluster, settings.serving, settings.autoscaler, settings.warm_floor)


def _repeated(names: Sequence[str], section: str, key: str, text: str) -> Iterator[Problem]:
    """Yield names that an earlier entry of a section has; ``text`` follows the name, with ``{first}`` for that entry."""
    for index, name in enumerate(names):
        first = names.index(name)
        if first != index:
            yield Problem(at=(section, index, key), text=f"({name}) {text.format(first=first)}", also=((section, first, key),))


def _serving(settings: Settings) -> Iterator[Problem]:
    names = [entry.name for entry in settings.serving]
    yield from _repeated(names, "serving", "name", "is serving[{first}]'s name too: one would overwrite the other. Choose another name.")
    for index, entry in enumerate(settings.serving):
        if entry.startup_budget < _MIN_STARTUP_S:
            yield Problem(
                at=("serving", index, "startup_budget"),
                text=f"({entry.startup_budget:g} s) is below {_MIN_STARTUP_S} s: pods would be killed while they load, over and over. "
                "Raise it to the longest time that loading may take.",
            )
        drain = entry.drain.pre_stop + entry.drain.exit_timeout
        if drain > _MAX_DRAIN_S:
            yield Problem(
                at=("serving", index, "drain"),
                text=f"takes {drain:g} s (preStop and exitTimeout), more than {_MAX_DRAIN_S} s: nodes are removed before it ends, and "
                "requests are lost. Shorten one of them.",
            )


def _node_ports(settings: Settings) -> Iterator[Problem]:
    ports: list[tuple[FieldPath, int | None]] = [(("prometheus", "node_port"), settings.prometheus.node_port)]
    for index, entry in enumerate(settings.serving):
        ports.append((("serving", index, "service", "http_node_port"), entry.service.http_node_port))
        ports.append((("serving", index, "service", "grpc_node_port"), entry.service.grpc_node_port))
    first: dict[int, FieldPath] = {}
    for path, port in ports:
        other = path if port is None else first.setdefault(port, path)
        if path[:2] != other[:2]:  # within one Service, the entry's own rule reports it
            yield Problem(
                at=path,
                text=f"({port}) is the node port of another Service of this stack: Kubernetes would reject the second. Choose another.",
                also=(other,),
            )


def _models(settings: Settings) -> Iterator[Problem]:
    repository, mode = settings.repository, settings.repository.mode
    for index, entry in enumerate(settings.serving):
        missing = [name for name in entry.models or () if repository.models is not None and name not in repository.models]
        if missing:
            yield Problem(
                at=("serving", index, "models"),
                text=f"names {', '.join(missing)}, absent from repository.models: Triton would not start. Add them there, or remove them.",
                also=(("repository", "models"),),
            )
        if entry.prefetch.enabled and mode != "release":
            yield Problem(
                at=("serving", index, "prefetch"),
                text=f"is on with repository.mode {mode}: Triton would read a copy that never changes. Turn it off, or use mode release.",
                also=(("repository", "mode"),),
            )
        if entry.models is not None and mode == "poll":
            yield Problem(
                at=("serving", index, "models"),
                text="names models with repository.mode poll: Triton would load every model, named or not. "
                "Remove them, or use mode release or explicit.",
                also=(("repository", "mode"),),
            )
    # The store's and the cluster's cloud must match, or no service account is known to the store. GKE's side: `_gke`.
    if isinstance(settings.cluster, EksClusterSettings) and (repository.store, repository.credentials) == ("gcs", "serviceAccount"):
        yield Problem(
            at=("repository", "credentials"),
            text="is serviceAccount with store: gcs on EKS: Google does not know this cluster's service accounts, so Triton "
            "could not read. Set store: s3, or credentials: keyFile.",
            also=(("repository", "store"), ("cluster", "provider")),
        )


def _images(settings: Settings) -> Iterator[Problem]:
    images, cluster = settings.images, settings.cluster
    names = [image.name for image in images]
    yield from _repeated(names, "images", "name", "is images[{first}]'s name too: deployments could mean either. Choose another name.")
    if images and getattr(cluster, "image_repository", None) is None:
        text = "need a registry, and this stack creates none. Set cluster.imageRepository, or write a full reference in serving[].image."
        yield Problem(at=("images",), text=text, also=(("cluster", "image_repository"), ("cluster", "provider")))
    for index, entry in enumerate(settings.serving):
        at = ("serving", index, "image")
        found = next((image for image in images if image.name == entry.image), None)
        close = difflib.get_close_matches(entry.image, names, n=1) if found is None and re.search(r"[/:]", entry.image) is None else []
        if close:
            text = f"({entry.image}) is neither a name in images nor a reference with a tag: it can't be pulled. Did you mean {close[0]}?"
            yield Problem(at=at, text=text, also=(("images",),))
        if found is not None and found.kind == "build" and not isinstance(cluster, ExistingClusterSettings):
            nodes = architectures(entry, cluster, settings.autoscaler)
            if nodes and PLATFORMS[found.platform] not in nodes:
                yield Problem(
                    at=at,
                    text=f"({entry.image}) is built for {found.platform}, but its nodes are {', '.join(sorted(nodes))}: its pods "
                    "would end with an exec format error. Change platform, or the nodes.",
                    also=(("images",), ("cluster",), ("autoscaler",)),
                )


def _addons(settings: Settings) -> Iterator[Problem]:
    cluster, provider = settings.cluster, (("cluster", "provider"),)
    if not isinstance(cluster, EksClusterSettings):
        if settings.load_balancer.enabled:
            yield Problem(
                at=("load_balancer", "enabled"),
                text=f"is true but cluster.provider is {cluster.provider}: the controller creates load balancers in an AWS account, and "
                "this stack has none. Remove it.",
                also=provider,
            )
        if settings.autoscaler.kind != "none":
            gke = isinstance(cluster, GkeClusterSettings)
            why = "GKE scales its pools itself, between their min and max" if gke else "the stack has no account to start nodes in"
            yield Problem(
                at=("autoscaler", "kind"),
                text=f"is {settings.autoscaler.kind} but cluster.provider is {cluster.provider}: {why}. Remove it.",
                also=provider,
            )
    if settings.warm_floor and isinstance(cluster, ExistingClusterSettings):
        yield Problem(
            at=("warm_floor",),
            text="names pools but cluster.provider is existing: such a cluster has no GPU pools in the stack file. Remove it.",
            also=provider,
        )
    pools = [floor.pool for floor in settings.warm_floor]
    text = "is warmFloor[{first}]'s pool too: one would overwrite the other. Add up their pods in one entry."
    yield from _repeated(pools, "warm_floor", "pool", text)
    if settings.ingress.kind == "istio" and settings.ingress.domain is None and len(settings.serving) > 1:
        yield Problem(
            at=("ingress", "domain"),
            text=f"is missing with {len(settings.serving)} deployments behind one gateway: it could not tell their requests apart. "
            "Set a domain; each deployment is then at <name>.<domain>.",
        )
    if settings.dashboard.enabled and not settings.prometheus.grafana:
        yield Problem(
            at=("dashboard", "enabled"),
            text="is true but prometheus.grafana is false: nothing would show it. Install Grafana, or remove the dashboard.",
            also=(("prometheus", "grafana"),),
        )


def in_google_registry(image: str) -> bool:
    """Whether an image comes from a Google Cloud registry, which nodes reach without internet egress and with their own identity."""
    host, slash, _ = image.partition("/")
    return bool(slash) and host.endswith(_GOOGLE_REGISTRIES)


def _gke(settings: Settings, cluster: GkeClusterSettings) -> Iterator[Problem]:
    repository, prometheus = settings.repository, settings.prometheus
    keyless = repository.credentials == "serviceAccount"
    if keyless and repository.store == "s3" and repository.endpoint is None and repository.cluster_endpoint is None:
        yield Problem(
            at=("repository", "credentials"),
            text="is serviceAccount with store: s3 on GKE: AWS does not know this cluster's service accounts, so Triton could not read. "
            "Set store: gcs, or credentials: environment.",
            also=(("repository", "store"), ("repository", "endpoint"), ("repository", "cluster_endpoint"), ("cluster", "provider")),
        )
    if settings.dcgm.enabled and "dcgm" in cluster.monitoring:
        yield Problem(
            at=("cluster", "monitoring"),
            text="has dcgm, GKE's own exporter, and dcgm.enabled is true: two exporters would share each GPU's counters. Keep one.",
            also=(("dcgm", "enabled"),),
        )
    if only_hyperdisk(cluster.cpu_pool.machine_type) and prometheus.storage is not None and prometheus.storage_class is None:
        yield Problem(
            at=("prometheus", "storage_class"),
            text=f"is missing, and GKE's default class creates pd-balanced volumes, which {cluster.cpu_pool.machine_type} does not "
            "support: Prometheus would never start. Name a class for hyperdisk-balanced, or use c3-standard-4 in cluster.cpuPool.",
            also=(("cluster", "cpu_pool"), ("prometheus", "storage")),
        )
    own = {image.name for image in settings.images}
    no_egress = cluster.network.kind == "create" and cluster.network.nat == "none"
    for index, entry in enumerate(settings.serving):
        at = ("serving", index, "image")
        if no_egress and entry.image not in own and not in_google_registry(entry.image):
            yield Problem(
                at=at,
                text=f"({entry.image}) is not in a Google Cloud registry, and cluster.network.nat is none: no node could pull it. "
                "Mirror it (images), or set another nat.",
                also=(("cluster", "network"),),
            )
        match = _TRITON_RELEASE.search(original(entry.image, settings.images)) if keyless and repository.store == "gcs" else None
        if match is not None and (int(match["year"]), int(match["month"])) < _FIRST_KEYLESS:
            yield Problem(
                at=at,
                text=f"({entry.image}) is older than 23.03, the first that reads a bucket without a key: it would find no models. Use a "
                "newer one.",
                also=(("repository", "store"), ("repository", "credentials")),
            )
