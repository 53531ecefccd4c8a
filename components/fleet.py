"""TritonFleet: the wiring of all rooms. The one place that knows who hands what to whom; `clusters.py` knows which clouds there are.

settings -> cluster -+- repository --------------------------------+
                     +- device plugin, autoscaler, load balancers -+-> triton (one a serving entry) -> route -> exports
                     |                     +- placeholders         |
                     |                     +- gateway's sidecars --+
                     +- volumes - prometheus -+- dcgm, adapters
                                              +- triton's PodMonitors alone

What a stand-up waits for is this graph's longest way (bench/standup.py): an edge more is minutes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.base.errors import Checked, FleetError, raise_all
from components.base.naming import type_token
from components.gateway.istio import IstioGateway, IstioGatewayArgs, IstioRoute, IstioRouteArgs
from components.gpu.dcgm_exporter import DcgmExporter, DcgmExporterArgs, scrape_jobs
from components.helm.release import check_charts
from components.images.images import Images, ImagesArgs, plan_images
from components.images.settings import original
from components.monitoring.prometheus import PrometheusStack, PrometheusStackArgs
from components.repository.needs import model_sizes, needs
from components.repository.resource import ModelRepository, ModelRepositoryArgs, check_environment, past_needs, past_plan
from components.repository.scan import scan
from components.repository.scancache import open_cache
from components.repository.validation import Deployment, validate
from components.serving.client import TritonClient, TritonClientArgs
from components.serving.namespaces import serving_namespaces
from components.serving.observability import Observability, ObservabilityArgs
from components.serving.prefetch import too_small
from components.serving.scaling import adapter_rules
from components.serving.triton import Triton, TritonArgs, unknown_models
from components.stack.charts import chart_pins
from components.stack.clusters import find_cluster, make_cluster, reader_annotations
from components.stack.metrics_apis import metrics_apis
from components.stack.node_addons import node_addons

if TYPE_CHECKING:
    from pathlib import Path

    from components.stack.settings import Settings


@dataclass(frozen=True, kw_only=True)
class TritonFleetArgs:
    """Arguments of `TritonFleet`."""

    settings: Settings
    project_dir: Path
    """Folder of Pulumi.yaml: relative paths in the settings start there."""


class TritonFleet(pulumi.ComponentResource):
    """Everything of one stack. Raises FleetError, with all that is wrong, before any resource is registered."""

    exports: dict[str, pulumi.Input[object]]
    """Stack outputs, by name."""

    def __init__(self, name: str, args: TritonFleetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings = args.settings
        access = Checked(lambda: find_cluster(settings.cluster))
        release = Checked(lambda: _release(settings, args.project_dir))
        charts = Checked(lambda: check_charts(settings.charts, chart_pins(settings)))
        environment = Checked(lambda: check_environment(settings.repository, os.environ))
        models = Checked(lambda: _check_models(settings, args.project_dir))
        images_plan = Checked(lambda: plan_images(settings.images, args.project_dir))
        raise_all([access, release, models, charts, environment, images_plan])

        super().__init__(type_token("fleet", "TritonFleet"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        made = make_cluster(settings, access.value, child)
        images = {}
        if images_plan.value and made.registry is not None:
            images = Images("images", ImagesArgs(plans=images_plan.value, registry=made.registry), child).references
        cluster = made.handle
        models_in_store = ModelRepository("repository", release.value, child)
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
        metrics_apis(settings, cluster=cluster, metrics=metrics, rules=adapter_rules(settings.serving), child=child)
        nodes = node_addons(settings, cluster, child, images)
        gateway = None
        if settings.ingress.kind == "istio":
            gateway = IstioGateway(
                "gateway",
                IstioGatewayArgs(cluster=cluster, settings=settings.ingress, charts=settings.charts, load_balancer=nodes.load_balancer),
                child,
            ).handle
        namespaces = serving_namespaces(
            settings.serving,
            cluster=cluster,
            parent=self,
            after=nodes.ready,
            injection=None if gateway is None else gateway.injection,
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
                    load_balancer=nodes.load_balancer,
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
                    serving=settings.serving,
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
            "prometheus": pulumi.Output.concat(metrics.url, ":", str(metrics.port)),
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


def _release(settings: Settings, project_dir: Path) -> ModelRepositoryArgs:
    """Scan the models, or look up the release that is asked for, and see that each deployment's are among them."""
    repository = settings.repository
    folder = project_dir / repository.source
    if repository.release is None:
        plan = scan(folder, repository.models, open_cache(folder, os.environ, verify=repository.verify))
        needed = needs(folder, plan.models)
    else:
        plan = past_plan(repository)
        needed = past_needs(repository, plan)
    problems = [
        problem
        for index, entry in enumerate(settings.serving)
        for problem in unknown_models(f"triton-fleet:serving[{index}]", entry, plan.models)
    ]
    sizes = model_sizes(plan)
    volumes = (too_small(f"triton-fleet:serving[{index}]", entry, sizes, needed) for index, entry in enumerate(settings.serving))
    problems.extend(problem for problem in volumes if problem is not None)
    if problems:
        raise FleetError(*problems)
    return ModelRepositoryArgs(settings=repository, plan=plan, needs=needed)


def _check_models(settings: Settings, project_dir: Path) -> None:
    """See that Triton would load the models where they are served; warn of those that it would serve otherwise than meant."""
    if settings.repository.release is not None:
        return  # models that have been served before, and maybe others than the folder's
    source = settings.repository.source
    deployments = [
        Deployment(
            key=f"triton-fleet:serving[{index}]",
            image=original(entry.image, settings.images),
            gpus=entry.resources.gpus,
            models=entry.models,
            arguments=entry.extra_args,
            backends=None if entry.backends is None else frozenset(entry.backends),
        )
        for index, entry in enumerate(settings.serving)
    ]
    problems = validate(project_dir / source, settings.repository.models, deployments)
    for problem in problems:
        if not problem.fatal:
            pulumi.log.warn(f"{source}/{problem}")
    if fatal := [f"{source}/{problem}" for problem in problems if problem.fatal]:
        raise FleetError(*fatal)
