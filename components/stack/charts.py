"""Which third-party charts a stack installs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.base.versions import (
    CLUSTER_AUTOSCALER,
    DCGM_EXPORTER,
    ISTIO_BASE,
    ISTIO_GATEWAY,
    ISTIOD,
    KARPENTER,
    KARPENTER_CRD,
    KUBE_PROMETHEUS_STACK,
    LOAD_BALANCER_CONTROLLER,
    PROMETHEUS_ADAPTER,
)

if TYPE_CHECKING:
    from components.base.versions import ChartPin
    from components.stack.settings import Settings


def chart_pins(settings: Settings) -> tuple[ChartPin, ...]:
    """Third-party charts that the stack installs, as far as the settings alone tell (a pool may ask for the device plugin besides)."""
    pins = [KUBE_PROMETHEUS_STACK]
    if settings.adapter.enabled:
        pins.append(PROMETHEUS_ADAPTER)
    if settings.dcgm.enabled:
        pins.append(DCGM_EXPORTER)
    if settings.ingress.kind == "istio":
        pins += [ISTIO_BASE, ISTIOD, ISTIO_GATEWAY]
    if settings.load_balancer.enabled:
        pins.append(LOAD_BALANCER_CONTROLLER)
    if settings.autoscaler.kind == "clusterAutoscaler":
        pins.append(CLUSTER_AUTOSCALER)
    if settings.autoscaler.kind == "karpenter":
        pins += [KARPENTER_CRD, KARPENTER]
    return tuple(pins)
