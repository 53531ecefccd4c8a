"""TritonFleet: the wiring of all rooms. The one place that names providers, and the one that knows who hands what to whom.

settings -> cluster -+- repository ------------------+
                     +- prometheus -+- dcgm          +-> triton (one a serving entry) -> exports
                     |              +- adapter ------+
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.addons.adapter import PrometheusAdapter, PrometheusAdapterArgs
from components.addons.dcgm import DcgmExporter, DcgmExporterArgs, scrape_jobs
from components.addons.prometheus import PrometheusStack, PrometheusStackArgs
from components.addons.release import check_charts
from components.cluster.existing import ExistingCluster, ExistingClusterArgs, find
from components.errors import Checked, FleetError, raise_all
from components.naming import type_token
from components.repository.needs import model_sizes, needs
from components.repository.s3 import ModelRepository, ModelRepositoryArgs, check_environment, past_needs, past_plan
from components.repository.scan import scan
from components.repository.scancache import open_cache
from components.serving.namespaces import serving_namespaces
from components.serving.prefetch import too_small
from components.serving.scaling import adapter_rules
from components.serving.triton import Triton, TritonArgs
from components.versions import DCGM_EXPORTER, KUBE_PROMETHEUS_STACK, PROMETHEUS_ADAPTER

if TYPE_CHECKING:
    from pathlib import Path

    from components.settings import Settings
    from components.versions import ChartPin


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
        access = Checked(lambda: find(settings.cluster))
        models = Checked(lambda: _models(settings, args.project_dir))
        charts = Checked(lambda: check_charts(settings.charts, _chart_pins(settings)))
        environment = Checked(lambda: check_environment(settings.repository, os.environ))
        raise_all([access, models, charts, environment])

        super().__init__(type_token("fleet", "TritonFleet"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        cluster = ExistingCluster("cluster", ExistingClusterArgs(settings=settings.cluster, access=access.value), child).handle
        repository = ModelRepository("repository", models.value, child).handle
        metrics = PrometheusStack(
            "prometheus",
            PrometheusStackArgs(
                cluster=cluster, settings=settings.prometheus, charts=settings.charts, scrape_jobs=scrape_jobs(settings.dcgm)
            ),
            child,
        ).handle
        if settings.dcgm.enabled:
            DcgmExporter("dcgm", DcgmExporterArgs(cluster=cluster, metrics=metrics, settings=settings.dcgm, charts=settings.charts), child)
        custom_metrics = PrometheusAdapter(
            "adapter",
            PrometheusAdapterArgs(
                cluster=cluster, metrics=metrics, settings=settings.adapter, charts=settings.charts, rules=adapter_rules(settings.serving)
            ),
            child,
        ).handle
        namespaces = serving_namespaces(settings.serving, cluster=cluster, custom_metrics=custom_metrics, parent=self)
        serving = [
            Triton(
                entry.name,
                TritonArgs(
                    cluster=cluster,
                    repository=repository,
                    metrics=metrics,
                    custom_metrics=custom_metrics,
                    settings=entry,
                    namespace=namespaces[entry.namespace],
                ),
                child,
            ).handle
            for entry in settings.serving
        ]

        self.exports = {
            "cluster": cluster.name,
            "repository": {"url": repository.url, "digest": repository.digest, "models": list(repository.models)},
            "prometheus": pulumi.Output.concat(metrics.url, ":", str(metrics.port)),
            "serving": {handle.name: {"namespace": handle.namespace, "service": handle.service} for handle in serving},
        }
        self.register_outputs(self.exports)


def _chart_pins(settings: Settings) -> tuple[ChartPin, ...]:
    """Third-party charts that the stack installs."""
    return (KUBE_PROMETHEUS_STACK, PROMETHEUS_ADAPTER, *((DCGM_EXPORTER,) if settings.dcgm.enabled else ()))


def _models(settings: Settings, project_dir: Path) -> ModelRepositoryArgs:
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
        f"triton-fleet:serving[{index}].models names {model}, absent from {settings.repository.source}: Triton would not start. "
        f"Add the model or leave it out. There: {', '.join(plan.models)}."
        for index, entry in enumerate(settings.serving)
        for model in entry.models or ()
        if model not in plan.models
    ]
    sizes = model_sizes(plan)
    volumes = (too_small(f"triton-fleet:serving[{index}]", entry, sizes, needed) for index, entry in enumerate(settings.serving))
    problems.extend(problem for problem in volumes if problem is not None)
    if problems:
        raise FleetError(*problems)
    return ModelRepositoryArgs(settings=repository, plan=plan, needs=needed)
