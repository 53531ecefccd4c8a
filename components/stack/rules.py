"""Rules between sections of the stack file: what is valid by itself and would fail, or never work, together."""

from __future__ import annotations

import difflib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from pydantic.alias_generators import to_camel

from components.base.drain import NODE_WAIT_S
from components.base.errors import Problem
from components.base.tritonserver import server_image
from components.eks.settings.cluster import EksClusterSettings
from components.existing.settings import ExistingClusterSettings
from components.gke.settings.cluster import GkeClusterSettings
from components.gke.settings.node_pools import only_hyperdisk
from components.gpu.offerings import offering_problem
from components.images.settings import PLATFORMS, original
from components.serving.image import image_problems
from components.serving.metrics.base import MetricSources
from components.serving.scaling import name_problems
from components.stack.capacity import architectures, capacity_problems, eligible_pools, pool_capacities
from components.stack.egress import egress_problems
from components.stack.exposure import exposure_problems

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from components.base.errors import FieldPath
    from components.eks.settings.node_groups import GpuPoolSettings
    from components.gke.settings.node_pools import GkeGpuPoolSettings
    from components.gpu.catalogue import Machine
    from components.serving.settings import ServingSettings
    from components.stack.settings import Settings

_MIN_STARTUP_S: Final = 10
"""tritonserver takes some seconds before it looks at the first model, and a probe runs every few seconds."""


def stack_problems(settings: Settings) -> Iterator[Problem]:
    """Yield everything that is wrong between sections."""
    yield from _unique_names(settings)
    yield from _node_ports(settings)
    yield from _account(settings)
    yield from _between(settings)
    yield from name_problems(settings.serving)
    yield from exposure_problems(settings)
    for index, entry in enumerate(settings.serving):
        yield from _serving(settings, index, entry)
        yield from _image(settings, index, entry)
        yield from _metrics(settings, index, entry)
    if isinstance(settings.cluster, GkeClusterSettings):
        yield from _gke(settings, settings.cluster)
    yield from _offered(settings)
    yield from egress_problems(settings)
    yield from capacity_problems(settings)


def _unique_names(settings: Settings) -> Iterator[Problem]:
    overwrite = "one would overwrite the other. "
    for section, key, names, text in (
        ("serving", "name", [entry.name for entry in settings.serving], f"{overwrite}Choose another name."),
        ("images", "name", [image.name for image in settings.images], "deployments could mean either. Choose another name."),
        ("warm_floor", "pool", [floor.pool for floor in settings.warm_floor], f"{overwrite}Add up their pods in one entry."),
    ):
        for index, name in enumerate(names):
            first = names.index(name)
            if first != index:
                shown = f"({name}) is {to_camel(section)}[{first}]'s {key} too: {text}"
                yield Problem(at=(section, index, key), text=shown, also=((section, first, key),))


def _node_ports(settings: Settings) -> Iterator[Problem]:
    ports: list[tuple[FieldPath, int | None]] = [(("prometheus", "node_port"), settings.prometheus.node_port)]
    for index, entry in enumerate(settings.serving):
        ports.append((("serving", index, "service", "http_node_port"), entry.service.http_node_port))
        ports.append((("serving", index, "service", "grpc_node_port"), entry.service.grpc_node_port))
    first: dict[int, FieldPath] = {}
    for path, port in ports:
        other = path if port is None else first.setdefault(port, path)
        if path[:2] != other[:2]:  # within one Service, the entry's own rule reports it
            text = f"({port}) is the node port of another Service of this stack: Kubernetes would reject the second. Choose another."
            yield Problem(at=path, text=text, also=(other,))


def _serving(settings: Settings, index: int, entry: ServingSettings) -> Iterator[Problem]:
    at, mode, listed = ("serving", index), settings.repository.mode, settings.repository.models
    if entry.startup_budget < _MIN_STARTUP_S:
        text = (
            f"({entry.startup_budget:g} s) is below {_MIN_STARTUP_S} s: pods would be killed while they load, over and over. "
            "Raise it to the longest time that loading may take."
        )
        yield Problem(at=(*at, "startup_budget"), text=text)
    if entry.drain.total > NODE_WAIT_S:
        text = (
            f"takes {entry.drain.total:g} s (preStop, exitTimeout and margin), more than {NODE_WAIT_S} s: nodes are removed before it "
            "ends, and requests are lost. Shorten one of them."
        )
        yield Problem(at=(*at, "drain"), text=text)
    missing = [name for name in entry.models or () if listed is not None and name not in listed]
    if missing:
        text = f"names {', '.join(missing)}, absent from repository.models: Triton would not start. Add them there, or remove them."
        yield Problem(at=(*at, "models"), text=text, also=(("repository", "models"),))
    if entry.prefetch.enabled and mode != "release":
        text = f"is on with repository.mode {mode}: Triton would read a copy that never changes. Turn it off, or use mode release."
        yield Problem(at=(*at, "prefetch"), text=text, also=(("repository", "mode"),))
    if entry.models is not None and mode == "poll":
        text = (
            "names models with repository.mode poll: Triton would load every model, named or not. Remove them, or use mode release or "
            "explicit."
        )
        yield Problem(at=(*at, "models"), text=text, also=(("repository", "mode"),))


def _image(settings: Settings, index: int, entry: ServingSettings) -> Iterator[Problem]:
    at = ("serving", index, "image")
    names = [image.name for image in settings.images]
    found = next((image for image in settings.images if image.name == entry.image), None)
    if found is None and re.search(r"[/:]", entry.image) is None:
        close = difflib.get_close_matches(entry.image, names, n=1)
        remedy = f"Did you mean {close[0]}?" if close else "Add it to images, or write a reference with registry and tag."
        text = f"({entry.image}) is neither a name in images nor a reference with a tag: it can't be pulled. {remedy}"
        yield Problem(at=at, text=text, also=(("images",),))
    if found is not None and found.kind == "mirror":
        yield from (replace(problem, at=at, also=(("images",),)) for problem in image_problems(found.source))
    if found is not None and found.kind == "build":
        nodes = architectures(entry, settings)
        if nodes and PLATFORMS[found.platform] not in nodes:
            text = (
                f"({entry.image}) is built for {found.platform}, but its nodes are {', '.join(sorted(nodes))}: its pods "
                "would end with an exec format error. Change platform, or the nodes."
            )
            yield Problem(at=at, text=text, also=(("images",), ("cluster",), ("autoscaler",)))


def _metrics(settings: Settings, index: int, entry: ServingSettings) -> Iterator[Problem]:
    """Each metric kind checks its own requirements (`components.serving.metrics`) against these facts about the stack."""
    cluster = settings.cluster
    pools = eligible_pools(entry, pool_capacities(settings))
    sources = MetricSources(
        entry=("serving", index),
        image=server_image(original(entry.image, settings.images)),
        prometheus_adapter=settings.adapter.enabled,
        stackdriver_adapter=settings.stackdriver.enabled,
        dcgm_exporter=settings.dcgm.enabled,
        system_metrics=not isinstance(cluster, GkeClusterSettings) or "system" in cluster.monitoring,
        shared_pool=pools[0].name if pools and all(pool.shared for pool in pools) else None,
        sliced_pool=pools[0].name if pools and all(pool.sliced for pool in pools) else None,
    )
    for position, metric in enumerate(entry.scaling.metrics):
        at = (*sources.entry, "scaling", "metrics", position)
        yield from (replace(problem, at=(*at, *problem.at)) for problem in metric.stack_problems(sources))


def _account(settings: Settings) -> Iterator[Problem]:
    cluster, profile = settings.cluster, settings.repository.profile
    if isinstance(cluster, EksClusterSettings) and profile not in {None, cluster.profile}:
        text = f"({profile}) is not cluster.profile ({cluster.profile}): uploads could land in another account. Leave it out."
        yield Problem(at=("repository", "profile"), text=text, also=(("cluster", "profile"),))


def _between(settings: Settings) -> Iterator[Problem]:
    """Yield sections that contradict each other, as rows of: whether they do, the key to report, the text, and the other keys read."""
    cluster, repository, ingress = settings.cluster, settings.repository, settings.ingress
    adapter, stackdriver, autoscaler = settings.adapter, settings.stackdriver, settings.autoscaler
    eks, gke = isinstance(cluster, EksClusterSettings), isinstance(cluster, GkeClusterSettings)
    provider, on = ("cluster", "provider"), f"cluster.provider is {cluster.provider}"
    scales = "GKE scales its pools itself, between their min and max" if gke else "the stack has no account to start nodes in"
    rows: tuple[tuple[bool, FieldPath, str, tuple[FieldPath, ...]], ...] = (
        (
            bool(settings.images) and getattr(cluster, "image_repository", None) is None,
            ("images",),
            "need a registry, and this stack creates none. Set cluster.imageRepository, or write a full reference in serving[].image.",
            (("cluster", "image_repository"), provider),
        ),
        (
            # The store's and the cluster's cloud must match, or no service account is known to the store. GKE's side: `_gke`.
            eks and (repository.store, repository.credentials) == ("gcs", "serviceAccount"),
            ("repository", "credentials"),
            (
                "is serviceAccount with store: gcs on EKS: Google does not know this cluster's service accounts, so Triton could not read. "
                "Set store: s3, or credentials: keyFile."
            ),
            (("repository", "store"), provider),
        ),
        (
            settings.load_balancer.enabled and not eks,
            ("load_balancer", "enabled"),
            f"is true but {on}: the controller creates load balancers in an AWS account, and this stack has none. Remove it.",
            (provider,),
        ),
        (
            autoscaler.kind != "none" and not eks,
            ("autoscaler", "kind"),
            f"is {autoscaler.kind} but {on}: {scales}. Remove it.",
            (provider,),
        ),
        (
            bool(settings.warm_floor) and not eks and not gke,
            ("warm_floor",),
            f"names pools but {on}: such a cluster has no GPU pools in the stack file. Remove it.",
            (provider,),
        ),
        (
            ingress.kind == "istio" and ingress.domain is None and len(settings.serving) > 1,
            ("ingress", "domain"),
            (
                f"is missing with {len(settings.serving)} deployments behind one gateway: it could not tell their requests apart. "
                "Set a domain; each deployment is then at <name>.<domain>."
            ),
            (),
        ),
        (
            settings.dashboard.enabled and not settings.prometheus.grafana,
            ("dashboard", "enabled"),
            "is true but prometheus.grafana is false: nothing would show it. Install Grafana, or remove the dashboard.",
            (("prometheus", "grafana"),),
        ),
        (
            stackdriver.enabled and not gke,
            ("stackdriver", "enabled"),
            (
                f"is true but {on}: the adapter reads Cloud Monitoring with an identity of a Google Cloud project; this cluster has none. "
                "Remove it."
            ),
            (provider,),
        ),
        (
            stackdriver.custom_metrics and not stackdriver.enabled,
            ("stackdriver", "custom_metrics"),
            "is true but stackdriver.enabled is false: it would have no effect. Set enabled to true or remove customMetrics.",
            (("stackdriver", "enabled"),),
        ),
        (
            # Each of the metrics APIs has one owner in a cluster: a second APIService of the same name replaces the first.
            stackdriver.enabled and stackdriver.custom_metrics and adapter.enabled,
            ("stackdriver", "custom_metrics"),
            (
                "is true and so is adapter.enabled: both would own v1beta1.custom.metrics.k8s.io, and the second to register would "
                "hide the metrics of the first from every autoscaler. Remove customMetrics, or set adapter.enabled to false."
            ),
            (("adapter", "enabled"), ("stackdriver", "enabled")),
        ),
        (
            not adapter.enabled and not stackdriver.enabled,
            ("adapter", "enabled"),
            (
                "is false and stackdriver.enabled is not true: nothing would serve metrics and no deployment could scale. "
                "Remove it, or set stackdriver.enabled to true (on GKE)."
            ),
            (("stackdriver", "enabled"),),
        ),
    )
    yield from (Problem(at=at, text=text, also=also) for wrong, at, text, also in rows if wrong)


def _offered(settings: Settings) -> Iterator[Problem]:
    """Warn of GPUs that the region or a zone lacks."""
    cluster, autoscaler = settings.cluster, settings.autoscaler
    if isinstance(cluster, ExistingClusterSettings):
        return
    zones = (cluster.zone_names if isinstance(cluster, GkeClusterSettings) else None) or ()
    count = cluster.network.zone_count if isinstance(cluster, GkeClusterSettings) else 0
    groups: Sequence[GpuPoolSettings | GkeGpuPoolSettings] = cluster.gpu_pools
    pools: list[tuple[FieldPath, Machine, Sequence[str]]] = [
        (("cluster", "gpu_pools", index, "machine_type"), pool.machine, pool.zones or zones) for index, pool in enumerate(groups)
    ]
    for index, started in enumerate(autoscaler.pools if autoscaler.kind == "karpenter" else ()):
        pools += [(("autoscaler", "pools", index, "instance_families"), machine, ()) for machine in started.machines]
    for at, machine, named in pools:
        if text := offering_problem(machine, cluster.region, named, count):
            yield Problem(at=at, text=text, also=(("cluster", "region"), ("cluster", "network")), fatal=False)


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
        text = "has dcgm, GKE's own exporter, and dcgm.enabled is true: two exporters would share each GPU's counters. Keep one."
        yield Problem(at=("cluster", "monitoring"), text=text, also=(("dcgm", "enabled"),))
    if only_hyperdisk(cluster.cpu_pool.machine_type) and prometheus.storage is not None and prometheus.storage_class is None:
        yield Problem(
            at=("prometheus", "storage_class"),
            text=f"is missing, and GKE's default class creates pd-balanced volumes, which {cluster.cpu_pool.machine_type} does not "
            "support: Prometheus would never start. Name a class for hyperdisk-balanced, or use c3-standard-4 in cluster.cpuPool.",
            also=(("cluster", "cpu_pool"), ("prometheus", "storage")),
        )
