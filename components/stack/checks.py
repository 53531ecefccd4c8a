"""Checks of what the stack file refers to, before anything is created: the cluster, the models, the charts, the images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi

from components.base.errors import FleetError, Problem, collect, raise_problems
from components.base.naming import PROJECT
from components.helm.release import chart_source
from components.images.images import ImagePlan, plan_images
from components.images.settings import original
from components.repository.resource import ModelRepositoryArgs, check_environment
from components.repository.rollback import published_needs, published_plan
from components.repository.scan.cache import open_cache
from components.repository.scan.folder import scan
from components.repository.scan.needs import needs
from components.repository.scan.verdicts import checked
from components.repository.validation import Deployment
from components.serving.triton import unknown_models
from components.serving.values import bytes_to_copy, models_to_copy, too_small
from components.stack.capacity import disk_problem, eligible_pools, pool_capacities
from components.stack.egress import chart_pins

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from components.base.errors import FieldPath
    from components.existing.kubeconfig import Access
    from components.stack.settings import Settings


_WITH_CHARTS: Final = ("charts", "adapter", "dcgm", "ingress", "loadBalancer", "autoscaler")
"""Sections that decide which charts are installed, and where they come from."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Results of the checks that the components use."""

    access: Access | None
    """Access to an existing cluster; None if the stack creates one."""
    models: ModelRepositoryArgs
    images: tuple[ImagePlan, ...]


def check(settings: Settings, project_dir: Path) -> Checked:
    """Run every check. ``project_dir``: folder of Pulumi.yaml, where relative paths in the settings start.

    Raises:
        FleetError: With the problems of all checks.
    """
    problems: list[Problem] = []
    with collect(problems):
        access = _find_cluster(settings)
    with collect(problems):
        models = _release(settings, project_dir)
    with collect(problems):
        _check_models(settings, project_dir)
    with collect(problems):
        _check_charts(settings)
    with collect(problems):
        check_environment(settings.repository, os.environ)
    with collect(problems):
        images = plan_images(settings.images, project_dir)
    raise_problems(problems)
    if access is not None and settings.ingress.kind == "istio":
        warn_of_missing_metrics(access)
    return Checked(access=access, models=models, images=images)


def readable_problems(settings: Settings, project_dir: Path, unread: Iterable[FieldPath]) -> list[Problem]:
    """Return the problems that the checks find in ``settings``, without the checks that depend on a value in ``unread``."""
    gone = [[step for step in path if isinstance(step, str)] for path in unread]
    serving = ("serving.name", "serving.image", "serving.models", "serving.prefetch", "serving.resources.gpus", "serving.extraArgs")
    problems: list[Problem] = []
    for reads, run in (
        (("cluster",), lambda: _find_cluster(settings)),
        (("repository", *serving), lambda: _release(settings, project_dir)),
        (("repository", "images", "serving.backends", *serving), lambda: _check_models(settings, project_dir)),
        (_WITH_CHARTS, lambda: _check_charts(settings)),
        (("repository",), lambda: check_environment(settings.repository, os.environ)),
        (("images",), lambda: plan_images(settings.images, project_dir)),
    ):
        if not any(one.split(".")[: len(path)] == path[: len(one.split("."))] for one in reads for path in gone):
            with collect(problems):
                run()
    return problems


def _find_cluster(settings: Settings) -> Access | None:
    """Find an existing cluster; return None if the stack creates one."""
    if settings.cluster.provider != "existing":
        return None
    from components.existing.kubeconfig import find  # noqa: PLC0415  # imports the Kubernetes client

    return find(settings.cluster.kubeconfig, settings.cluster.context)


def warn_of_missing_metrics(access: Access) -> None:
    """The autoscalers of the gateway and of istiod read CPU. EKS gets the add-on for it, and GKE has it."""
    from components.existing.kubeconfig import serves  # noqa: PLC0415  # as above

    if serves(access, "metrics.k8s.io", "v1beta1") is False:
        pulumi.log.warn(
            f"{PROJECT}:ingress.maxReplicas has no effect on this cluster, which does not serve metrics.k8s.io: the gateway stays at "
            "minReplicas. Install metrics-server, or set minReplicas to the number of pods that you need."
        )


def _check_charts(settings: Settings) -> None:
    problems: list[Problem] = []
    for pin in chart_pins(settings):
        with collect(problems):
            chart_source(pin, settings.charts)
    raise_problems(problems)


def _release(settings: Settings, project_dir: Path) -> ModelRepositoryArgs:
    """Scan the models, or look up the release that the settings name, and check that it has each deployment's models."""
    repository = settings.repository
    folder = project_dir / repository.source
    if repository.release is None:
        plan = scan(folder, repository.models, open_cache(folder, os.environ, verify=repository.verify))
        needed = needs(folder, plan.models)
    else:
        plan = published_plan(repository)
        needed = published_needs(repository, plan)
    problems = [
        problem
        for index, entry in enumerate(settings.serving)
        for problem in unknown_models(f"triton-fleet:serving[{index}]", entry, plan.models)
    ]
    sizes = plan.sizes
    volumes = (too_small(f"triton-fleet:serving[{index}]", entry, sizes, needed) for index, entry in enumerate(settings.serving))
    problems.extend(problem for problem in volumes if problem is not None)
    for index, entry in enumerate(settings.serving):
        if entry.resources.gpus and entry.prefetch.volume.size is None:
            pools = [pool for pool in eligible_pools(entry, pool_capacities(settings)) if pool.resource == entry.resources.gpu_resource]
            if text := disk_problem(entry, bytes_to_copy(entry, sizes, needed)[1], pools):
                problems.append(f"triton-fleet:serving[{index}].prefetch {text}")
    if problems:
        raise FleetError(*problems)
    copied = {models for entry in settings.serving if entry.prefetch.enabled and (models := models_to_copy(entry, needed))}
    return ModelRepositoryArgs(settings=repository, plan=plan, needs=needed, subsets=sorted(copied))


def _check_models(settings: Settings, project_dir: Path) -> None:
    """Check that Triton would load the models of each deployment; warn of those that it would not serve as intended."""
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
            metrics={metric.kind: metric.reads for metric in entry.scaling.metrics if metric.reads in {"vllm", "trtllm"}},
        )
        for index, entry in enumerate(settings.serving)
    ]
    problems = checked(project_dir / source, settings.repository.models, deployments, environ=os.environ, verify=settings.repository.verify)
    for problem in problems:
        if problem.note:
            pulumi.log.info(f"{source}: {problem}")
        elif not problem.fatal:
            pulumi.log.warn(f"{source}/{problem}")
    raise_problems(Problem(text=f"{source}/{problem}") for problem in problems if problem.fatal)
