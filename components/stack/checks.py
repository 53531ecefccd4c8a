"""What must hold outside of the stack file before anything is created: the cluster answers, the models load, the charts are found."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.base.errors import FleetError, Problem, collect, raise_problems
from components.helm.release import chart_source
from components.images.images import ImagePlan, plan_images
from components.images.settings import original
from components.repository.resource import ModelRepositoryArgs, check_environment
from components.repository.rollback import published_needs, published_plan
from components.repository.scan.cache import open_cache
from components.repository.scan.folder import scan
from components.repository.scan.needs import needs
from components.repository.validation import Deployment, validate
from components.serving.triton import unknown_models
from components.serving.values import too_small
from components.stack.addons import chart_pins
from components.stack.clusters import find_cluster

if TYPE_CHECKING:
    from pathlib import Path

    from components.existing.kubeconfig import Access
    from components.stack.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What the checks have found out and the components need."""

    access: Access | None
    """The way into a cluster that exists already; None where the stack creates one."""
    models: ModelRepositoryArgs
    images: tuple[ImagePlan, ...]


def check(settings: Settings, project_dir: Path) -> Checked:
    """Run every check. ``project_dir``: folder of Pulumi.yaml, where relative paths in the settings start.

    Raises:
        FleetError: With the problems of all checks.
    """
    problems: list[Problem] = []
    with collect(problems):
        access = find_cluster(settings.cluster)
    with collect(problems):
        models = _release(settings, project_dir)
    with collect(problems):
        _check_models(settings, project_dir)
    for pin in chart_pins(settings):
        with collect(problems):
            chart_source(pin, settings.charts)
    with collect(problems):
        check_environment(settings.repository, os.environ)
    with collect(problems):
        images = plan_images(settings.images, project_dir)
    raise_problems(problems)
    return Checked(access=access, models=models, images=images)


def _release(settings: Settings, project_dir: Path) -> ModelRepositoryArgs:
    """Scan the models, or look up the release that is asked for, and see that each deployment's are among them."""
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
    raise_problems(Problem(text=f"{source}/{problem}") for problem in problems if problem.fatal)
