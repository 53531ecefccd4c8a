"""TritonFleet: how all components are connected. `stack/clusters.py` has what differs between clouds.

settings -> cluster -+- repository --------------------------------+
                     +- device plugin, autoscaler, load balancers -+-> triton (one a serving entry) -> route -> exports
                     |                     +- placeholders         |
                     |                     +- gateway's sidecars --+
                     +- volumes - prometheus -+- dcgm, adapters
                                              +- triton's PodMonitors only

The longest path through this graph determines how long an `up` takes (bench/standup.py): an additional edge can cost minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pulumi

from components.base.naming import type_token
from components.gateway.istio import IstioGateway, IstioGatewayArgs, IstioRoute, IstioRouteArgs
from components.gpu.dcgm_exporter import DcgmExporter, DcgmExporterArgs, scrape_jobs
from components.images.images import Images, ImagesArgs
from components.monitoring.adapter import PrometheusAdapter, PrometheusAdapterArgs
from components.monitoring.observability import Observability, ObservabilityArgs
from components.monitoring.prometheus import PrometheusStack, PrometheusStackArgs
from components.repository.resource import ModelRepository
from components.serving.client import TritonClient, TritonClientArgs
from components.serving.scaling import adapter_rules, metric_panels, watched
from components.serving.triton import Triton, TritonArgs, serving_namespaces
from components.stack.checks import check
from components.stack.clusters import cluster_addons, make_cluster, model_bucket, reader_annotations

if TYPE_CHECKING:
    from pathlib import Path

    from components.stack.settings import Settings


@dataclass(frozen=True, kw_only=True)
class TritonFleetArgs:
    """Arguments of `TritonFleet`."""

    settings: Settings
    project_dir: Path
    """Folder of Pulumi.yaml, where relative paths in the settings start."""


class TritonFleet(pulumi.ComponentResource):
    """Everything of one stack. Raises FleetError with every problem before any resource is registered."""

    exports: dict[str, pulumi.Input[object]]
    """Stack outputs, by name."""

    def __init__(self, name: str, args: TritonFleetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings = args.settings
        checked = check(settings, args.project_dir)

        super().__init__(type_token("fleet", "TritonFleet"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        made = make_cluster(settings, checked.access, child)
        images = {}
        if checked.images and made.registry is not None:
            images = Images("images", ImagesArgs(plans=checked.images, registry=made.registry), child).references
        cluster = made.handle
        bucket = model_bucket(settings, made, child)
        models_in_store = ModelRepository("repository", replace(checked.models, bucket=bucket), child)
        repository = models_in_store.handle
        metrics = PrometheusStack(
            "prometheus",
            PrometheusStackArgs(
                cluster=cluster, settings=settings.prometheus, charts=settings.charts, scrape_jobs=scrape_jobs(settings.dcgm)
            ),
            child,
        ).handle
        if settings.dcgm.enabled:
            DcgmExporter("dcgm", DcgmExporterArgs(cluster=cluster, metrics=metrics, settings=settings.dcgm, charts=settings.charts), child)
        if settings.adapter.enabled:
            # Nothing waits for it: an autoscaler keeps its minimum number of pods until there is a metric.
            rules = adapter_rules(settings.serving)
            adapter = PrometheusAdapterArgs(
                cluster=cluster, metrics=metrics, settings=settings.adapter, charts=settings.charts, rules=rules
            )
            PrometheusAdapter("adapter", adapter, child)
        ready, load_balancer = cluster_addons(settings, cluster, images, child)
        gateway = None
        if settings.ingress.kind == "istio":
            gateway = IstioGateway(
                "gateway",
                IstioGatewayArgs(
                    cluster=cluster,
                    settings=settings.ingress,
                    charts=settings.charts,
                    hops=settings.hops,
                    load_balancer=load_balancer,
                ),
                child,
            ).handle
        namespaces = serving_namespaces(
            settings.serving,
            cluster=cluster,
            parent=self,
            after=ready,
            injection=None if gateway is None else gateway.injection,
            load_balancer=load_balancer,
        )
        serving = [
            Triton(
                entry.name,
                TritonArgs(
                    cluster=cluster,
                    repository=repository,
                    metrics=metrics,
                    settings=entry,
                    namespace=namespaces[entry.namespace],
                    service_account_annotations=reader_annotations(settings, entry, made, repository, child),
                    image=images.get(entry.image),
                    load_balancer=load_balancer,
                    gateway=gateway,
                    client_namespace=settings.serving[0].namespace if settings.client.enabled else None,
                ),
                child,
            ).handle
            for entry in settings.serving
        ]
        if settings.alerts.enabled or settings.dashboard.enabled:
            Observability(
                "observability",
                ObservabilityArgs(
                    cluster=cluster,
                    metrics=metrics,
                    deployments=[watched(entry, settings.serving) for entry in settings.serving],
                    panels=metric_panels(settings.serving),
                    alerts=settings.alerts if settings.alerts.enabled else None,
                    dashboard=settings.dashboard.enabled,
                ),
                child,
            )

        self.exports = {
            "cluster": cluster.name,
            "repository": {
                "url": repository.url,
                "digest": repository.digest,
                "models": list(repository.models),
                "release": models_in_store.release,
                "previous": models_in_store.previous,
            },
            "prometheus": metrics.address,
            "serving": {handle.name: {"namespace": handle.namespace, "service": handle.service} for handle in serving},
        }
        if made.registry is not None:
            self.exports["images"] = made.registry.url
        if settings.client.enabled:
            place = namespaces[settings.serving[0].namespace]
            client = TritonClient(
                "client", TritonClientArgs(cluster=cluster, namespace=place, serving=serving, settings=settings.client), child
            )
            self.exports["client"] = client.command
        if gateway is not None and settings.ingress.kind == "istio":
            routes = {
                handle.name: IstioRoute(
                    f"{handle.name}-route",
                    IstioRouteArgs(cluster=cluster, gateway=gateway, serving=handle, settings=settings.ingress),
                    child,
                )
                for handle in serving
            }
            self.exports["gateway"] = {"service": gateway.service, "hosts": {name: list(route.hosts) for name, route in routes.items()}}
        self.register_outputs(self.exports)
