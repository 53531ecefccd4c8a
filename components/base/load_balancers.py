"""Load balancers for Services: which controller creates them, whether they are internal, and which annotations decide.

Sources: EKS' built-in controller, pkg/providers/v1/aws.go of github.com/kubernetes/cloud-provider-aws (any value of ``-internal`` but
``false`` counts; it leaves Services of type ``external`` and ``nlb-ip`` alone). AWS Load Balancer Controller,
docs/guide/service/annotations.md of github.com/kubernetes-sigs/aws-load-balancer-controller. GKE,
cloud.google.com/kubernetes-engine/docs/concepts/service-load-balancer-parameters. All three restrict access to
``loadBalancerSourceRanges``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from components.base.drain import NLB_TARGETS, VIA_NODES
from components.base.handles import LoadBalancerHandle

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pulumi

Scheme = Literal["internal", "internet-facing"]
Maker = Literal["eks", "awsController", "gke", "unknown"]
"""``eks``: the controller that every EKS cluster has. ``unknown``: that of an existing cluster."""

_AWS: Final = "service.beta.kubernetes.io/aws-load-balancer"
AWS_TYPE: Final = f"{_AWS}-type"
_AWS_SCHEME: Final = f"{_AWS}-scheme"
_AWS_INTERNAL: Final = f"{_AWS}-internal"
_GKE_TYPES: Final = ("networking.gke.io/load-balancer-type", "cloud.google.com/load-balancer-type")
_ANY_INTERNAL: Final = {
    _AWS_INTERNAL: "true",
    _AWS_SCHEME: "internal",
    _GKE_TYPES[0]: "Internal",
    "service.beta.kubernetes.io/azure-load-balancer-internal": "true",
    "service.beta.kubernetes.io/oci-load-balancer-internal": "true",
    "service.beta.kubernetes.io/openstack-internal-load-balancer": "true",
    "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type": "intranet",
    "service.kubernetes.io/ibm-load-balancer-cloud-provider-ip-type": "private",
}
"""What clouds' controllers read on a cluster that the stack did not create; each ignores the others'."""
UNRESTRICTED: Final = (
    "is missing while scheme is internet-facing: Triton does not authenticate clients, so anyone could use its GPUs. "
    "List the CIDRs that may reach it, or 0.0.0.0/0 for all."
)
"""Problem of the source ranges."""
ANNOTATIONS: Final[dict[Maker, dict[Scheme, dict[str, str]]]] = {
    "eks": {
        # A classic load balancer would end idle connections after 60 s.
        "internal": {AWS_TYPE: "nlb", _AWS_INTERNAL: "true"},
        "internet-facing": {AWS_TYPE: "nlb", _AWS_INTERNAL: "false"},
    },
    "awsController": {
        "internal": {AWS_TYPE: "external", NLB_TARGETS: "ip", _AWS_SCHEME: "internal"},
        "internet-facing": {AWS_TYPE: "external", NLB_TARGETS: "ip", _AWS_SCHEME: "internet-facing"},
    },
    "gke": {
        "internal": {_GKE_TYPES[0]: "Internal"},
        # With a backend service, which checks the gateway's own health and drains connections; a target pool checks only the node.
        "internet-facing": {"cloud.google.com/l4-rbs": "enabled"},
    },
    "unknown": {"internal": _ANY_INTERNAL, "internet-facing": {}},
}
"""Annotations that a stack sets. Those of the settings are added and take precedence."""


def built_in(by: Maker, cluster: pulumi.Output[str]) -> LoadBalancerHandle:
    """Return the annotations for the controller that the cluster comes with; they resolve once ``cluster`` exists."""

    def asked(scheme: Scheme) -> dict[str, pulumi.Output[str]]:
        return {key: cluster.apply(lambda _, value=value: value) for key, value in ANNOTATIONS[by][scheme].items()}  # type: ignore[misc]

    return LoadBalancerHandle(ready=cluster, internal=asked("internal"), internet_facing=asked("internet-facing"), targets=VIA_NODES)


def controller_of(provider: Literal["eks", "gke", "existing"]) -> Maker:
    """Return the controller that every cluster of ``provider`` has."""
    return "unknown" if provider == "existing" else provider


def maker(present: Maker, annotations: Mapping[str, str]) -> Maker:
    """Return who makes the load balancer of a Service with these ``annotations`` where ``present`` is the cluster's own controller."""
    return "awsController" if present == "eks" and annotations.get(AWS_TYPE) in {"external", "nlb-ip"} else present


def made(by: Maker, annotations: Mapping[str, str]) -> Scheme | None:
    """Return the scheme of the load balancer that ``by`` makes of ``annotations``; None if that can't be known."""
    internal = annotations.get(_AWS_INTERNAL, "false") not in {"", "false"}
    if by == "awsController":
        default = "internal" if internal or _AWS_INTERNAL not in annotations else "internet-facing"
        return "internal" if annotations.get(_AWS_SCHEME, default) == "internal" else "internet-facing"
    if by == "gke":
        internal = any(annotations.get(key, "").lower() == "internal" for key in _GKE_TYPES)
    if by == "unknown":
        agree = {annotations[key].lower() == value.lower() for key, value in _ANY_INTERNAL.items() if key in annotations}
        return None if not agree else "internet-facing" if False in agree else "internal"
    return "internal" if internal else "internet-facing"
