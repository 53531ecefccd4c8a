"""Rules about what clients reach: load balancers, the gateway, and the deployments behind them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from components.base.drain import NLB_PODS, NODE_WAIT_S, targets
from components.base.errors import Problem
from components.base.load_balancers import ANNOTATIONS, AWS_TYPE, controller_of, made, maker
from components.stack.capacity import eligible_pools, pool_capacities

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.base.errors import FieldPath
    from components.gateway.settings import IstioSettings
    from components.serving.settings import DeployedServiceSettings
    from components.stack.settings import Settings


def exposure_problems(settings: Settings) -> Iterator[Problem]:
    """Yield load balancers that would not have the scheme of their Service and, as warnings, what clients would notice."""
    for index, entry in enumerate(settings.serving):
        at: FieldPath = ("serving", index)
        yield from _load_balancer(settings, (*at, "service"), entry.service, entry.service.type)
        if (entry.service.type, entry.service.scheme) != ("LoadBalancer", "internet-facing"):
            continue
        public = "although service.scheme is internet-facing: whoever is in sourceRanges could"
        if entry.admin.open:
            text = f"opens {', '.join(entry.admin.open)} {public} use them without the key. Remove it, and send the key."
            yield Problem(at=(*at, "admin", "open"), text=text, also=((*at, "service"),))
        if entry.service.expose_metrics:
            text = f"is true {public} read which models there are, and their load. Remove it: Prometheus scrapes the pods."
            yield Problem(at=(*at, "service", "expose_metrics"), text=text, also=((*at, "service"),), fatal=False)
    if settings.ingress.kind == "istio":
        yield from _load_balancer(settings, ("ingress",), settings.ingress, settings.ingress.service_type)
    yield from _slow(settings)


def _load_balancer(settings: Settings, at: FieldPath, service: DeployedServiceSettings | IstioSettings, kind: str) -> Iterator[Problem]:
    """Compare the scheme of a Service of type ``kind`` with that of the load balancer that the cluster's controller creates."""
    scheme, installed, present = service.scheme, settings.load_balancer.enabled, controller_of(settings.cluster.provider)
    also = (at, ("cluster", "provider"), ("load_balancer",))
    if kind != "LoadBalancer":
        if scheme == "internet-facing":
            text = f"is internet-facing but the Service is of type {kind}, which has no load balancer: it would be ignored. Remove it."
            yield Problem(at=(*at, "scheme"), text=text, also=also, fatal=False)
        return
    asked = {**ANNOTATIONS["awsController" if installed and present == "eks" else present][scheme], **service.annotations}
    by = maker(present, asked)
    becomes = made(by, asked)
    if by == "awsController" and not installed:
        text = f"has {AWS_TYPE}: {asked[AWS_TYPE]}, which AWS Load Balancer Controller serves: nothing would create a load balancer. "
        yield Problem(at=(*at, "annotations"), text=f"{text}Set loadBalancer.enabled to true, or remove it.", also=also)
    elif becomes not in {None, scheme}:
        text = (
            f"makes the load balancer {becomes}, and scheme is {scheme}: clients would reach it from elsewhere than the settings say. "
            f"Remove the annotation, or set scheme to {becomes}."
        )
        yield Problem(at=(*at, "annotations"), text=text, also=also)
    elif scheme == "internet-facing" and _without_public_subnets(settings):
        text = (
            "is internet-facing, and cluster.network.publicSubnetIds names no subnet: without one with the tag kubernetes.io/role/elb the "
            "load balancer could not be created. List the public subnets."
        )
        yield Problem(at=(*at, "scheme"), text=text, also=also, fatal=False)
    elif by == "unknown" and scheme == "internal" and not service.annotations and not service.source_ranges:
        text = (
            "is internal, and the Service has the annotations for AWS, Google Cloud, Azure, Oracle, OpenStack, Alibaba and IBM: another "
            "controller may make it public. Check what this cluster uses, add its controller's annotation, or list sourceRanges."
        )
        yield Problem(at=(*at, "scheme"), text=text, also=also, fatal=False)


def _without_public_subnets(settings: Settings) -> bool:
    cluster = settings.cluster
    return cluster.provider == "eks" and cluster.network.kind == "existing" and not cluster.network.public_subnet_ids


def _slow(settings: Settings) -> Iterator[Problem]:
    installed = NLB_PODS if settings.load_balancer.enabled else None
    ingress = settings.ingress
    slow = (
        "is 1 behind a network load balancer, which takes 1 to 3 minutes to register a new pod: a node drain interrupts requests as long. "
        "Set it to 2 or more."
    )
    for index, entry in enumerate(settings.serving):
        at, also = ("serving", index, "service"), (("serving", index), ("load_balancer",), ("cluster",), ("autoscaler",))
        if targets(entry.service.type, entry.service.annotations, installed) is not NLB_PODS:
            continue
        if entry.scaling.min_replicas == 1:
            yield Problem(at=("serving", index, "scaling", "min_replicas"), text=slow, also=also, fatal=False)
        if entry.resources.gpus and any(pool.spot for pool in eligible_pools(entry, pool_capacities(settings))):
            text = (
                f"makes spot nodes the targets of a network load balancer, which needs {NLB_PODS.removal} s to let go of a pod: they are "
                "reclaimed sooner, and requests are cut off. Use a gateway, or avoid spot pools with nodeSelector."
            )
            yield Problem(at=at, text=text, also=also, fatal=False)
    if ingress.kind != "istio":
        return
    reached = targets(ingress.service_type, ingress.annotations, installed)
    if reached is NLB_PODS and ingress.min_replicas == 1:
        yield Problem(at=("ingress", "min_replicas"), text=slow, also=(("ingress",), ("load_balancer",)), fatal=False)
    if (grace := settings.hops.gateway_grace(reached)) > NODE_WAIT_S:
        longest = max(range(len(settings.serving)), key=lambda index: settings.serving[index].drain.exit_timeout)
        text = (
            f"({settings.hops.request:g} s) gives the gateway a drain of {grace} s, more than {NODE_WAIT_S} s: when its node is removed, "
            f"the longest requests are lost. Lower it to {math.floor(settings.hops.request) - (grace - NODE_WAIT_S)}s, or accept that."
        )
        yield Problem(at=("serving", longest, "drain", "exit_timeout"), text=text, also=(("ingress",),), fatal=False)
