"""A cluster without internet egress (``cluster.network.nat: none``): whatever its nodes pull or read must be reachable privately.

EKS: interface endpoints for the region's ECR and for what controllers call, and a gateway endpoint for the region's S3
(https://docs.aws.amazon.com/eks/latest/userguide/private-clusters.html). public.ecr.aws has no endpoint.
GKE: Private Google Access, for Artifact Registry, gcr.io and Cloud Storage
(https://cloud.google.com/vpc/docs/private-google-access). In an existing network, egress is not known, and nothing is checked.

Charts need no egress from nodes, because Helm runs on this machine, but their images do. The images of a mirrored chart are not known here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from components.base import versions
from components.base.aws import domain
from components.base.errors import Problem
from components.eks.settings.cluster import EksClusterSettings
from components.existing.settings import ExistingClusterSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.base.errors import FieldPath
    from components.stack.settings import Settings

_GOOGLE_REGISTRIES: Final = (".pkg.dev", "gcr.io")


def chart_pins(settings: Settings) -> list[versions.ChartPin]:
    """Return the third-party charts of the stack, without the device plugin's, which only the nodes' image decides on."""
    pins = [versions.KUBE_PROMETHEUS_STACK]
    if settings.adapter.enabled:
        pins.append(versions.PROMETHEUS_ADAPTER)
    if settings.dcgm.enabled:
        pins.append(versions.DCGM_EXPORTER)
    if settings.ingress.kind == "istio":
        pins += [versions.ISTIO_BASE, versions.ISTIOD, versions.ISTIO_GATEWAY]
    if settings.load_balancer.enabled:
        pins.append(versions.LOAD_BALANCER_CONTROLLER)
    if settings.autoscaler.kind == "clusterAutoscaler":
        pins.append(versions.CLUSTER_AUTOSCALER)
    if settings.autoscaler.kind == "karpenter":
        pins += [versions.KARPENTER_CRD, versions.KARPENTER]
    return pins


def _images(settings: Settings) -> Iterator[tuple[FieldPath, str, str]]:
    """Yield each image that a setting names: its place, its reference, and how to bring it into a private registry."""
    own, copy = {image.name for image in settings.images}, "Name a copy there"
    for index, entry in enumerate(settings.serving):
        if entry.image not in own:
            yield ("serving", index, "image"), entry.image, "Mirror it (images)"
        if entry.prefetch.enabled:
            yield ("serving", index, "prefetch", "image"), entry.prefetch.image, copy
    if settings.client.enabled:
        yield ("client", "image"), settings.client.image, copy
    if settings.stackdriver.enabled:
        yield ("stackdriver", "image"), settings.stackdriver.image, copy


def egress_problems(settings: Settings) -> Iterator[Problem]:
    """Yield every image that the nodes of a cluster without egress can't pull, and a store that they can't reach."""
    cluster, repository = settings.cluster, settings.repository
    if isinstance(cluster, ExistingClusterSettings) or cluster.network.kind != "create" or cluster.network.nat != "none":
        return
    also: tuple[FieldPath, ...] = (("cluster", "network"), ("cluster", "region"))
    without = "and cluster.network.nat is none"
    if isinstance(cluster, EksClusterSettings):
        registry, private_store = f"Amazon ECR of {cluster.region}", repository.store == "s3" and repository.region == cluster.region
        hosts: tuple[str, ...] = (f".dkr.ecr.{cluster.region}.{domain(cluster.region)}",)
        store = f"S3 in {cluster.region}"
    else:
        registry, hosts, private_store, store = "a Google Cloud registry", _GOOGLE_REGISTRIES, repository.store == "gcs", "Cloud Storage"
    for at, image, remedy in _images(settings):
        host, slash, _ = image.partition("/")
        if not (slash and host.endswith(hosts)):
            text = f"({image}) is not in {registry}, {without}: no node could pull it. {remedy}, or set another nat."
            yield Problem(at=at, text=text, also=also)
    if settings.warm_floor:
        text = f"runs {versions.PAUSE_IMAGE}, {without}: no node could pull it. Remove warmFloor, or set another nat."
        yield Problem(at=("warm_floor",), text=text, also=also)
    if settings.charts.source == "upstream":
        names = ", ".join(pin.name for pin in chart_pins(settings))
        text = (
            f"is upstream, {without}: no node could pull the images of {names}, which are in public registries. Mirror the charts, with "
            f"images from {registry}, and set source to oci or folder; or set another nat."
        )
        yield Problem(at=("charts", "source"), text=text, also=also)
    endpoint = repository.cluster_endpoint or repository.endpoint
    if endpoint is None and not private_store:
        text = f"is {repository.store}, {without}: pods could reach {store} only. Move the bucket there, or set another nat."
        yield Problem(at=("repository", "store"), text=text, also=(*also, ("repository", "region"), ("repository", "endpoint")))
