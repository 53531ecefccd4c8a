"""All checks of a model repository, in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.repository.validation.backends import COMPLETING, ENSEMBLE, mismatch, platforms_of, resolve
from components.repository.validation.config import check_config
from components.repository.validation.deployment import Deployment, check_deployment, check_metrics
from components.repository.validation.ensemble import Composable, check_ensemble, cycles
from components.repository.validation.files import Repository
from components.repository.validation.model import ModelState, loaded_versions, read_config, versions_of
from components.repository.validation.modelfiles import check_initial_states, check_labels, check_model_files, check_warmup
from components.repository.validation.report import Report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from components.base.errors import Problem


def validate(folder: Path, models: Sequence[str] | None = None, deployments: Sequence[Deployment] = ()) -> list[Problem]:
    """Return the problems that keep Triton from loading ``models`` or make it serve them in an unintended way.

    Args:
        folder: the model repository, with one folder per model. Nothing outside it is read.
        models: models to upload; None for all. `components.repository.scan` reports names without a folder.
        deployments: the Triton deployments that serve the models. Without one, backends and GPUs are not checked.

    Returns:
        Problems in the order of the models.
    """
    repository = Repository(folder)
    present = [name for name in repository.names(folder) if not name.startswith(".") and repository.kind(folder / name) == "folder"]
    wanted = [name for name in present if models is None or name in models]
    read = {name: _read(repository, name) for name in wanted}
    composables = {
        name: Composable(config=model.config, open=model.completes_itself, versions=model.versions) for name, model in read.items()
    }
    for model in read.values():
        if model.config is not None:
            check_ensemble(model.config, composables, set(present) - set(wanted), model.report)
    for circle in cycles({name: model.steps for name, model in read.items() if model.steps}):
        for name in circle:
            read[name].report.field("ensemble_scheduling", f"is circular ({' -> '.join((*circle, circle[0]))})", "Remove one of the steps.")
    for deployment in deployments:
        served = [read[name] for name in _served(read, deployment)]
        for model in served:
            check_deployment(repository, model, deployment)
        check_metrics(repository, served, deployment)
    return [
        problem for name in wanted for problem in sorted(read[name].report.problems, key=lambda problem: (problem.file, problem.line or 0))
    ]


def _served(models: dict[str, ModelState], deployment: Deployment) -> list[str]:
    """Models that a deployment loads, including those of its ensembles' steps."""
    pending = [name for name in models if deployment.models is None or name in deployment.models]
    served: set[str] = set()
    while pending:
        name = pending.pop()
        if name in models and name not in served:
            served.add(name)
            pending.extend(models[name].steps)
    return [name for name in models if name in served]


def _read(repository: Repository, name: str) -> ModelState:
    root = repository.folder / name
    model = ModelState(name=name, root=root, report=Report(name))
    model.config = read_config(repository, model)
    folders = [entry for entry in repository.names(root) if repository.kind(root / entry) == "folder"]
    existing = versions_of(folders, model)
    if model.config is None:
        return model
    config, report = model.config, model.report
    first = root / folders[0] if folders else None
    content = {entry: repository.kind(first / entry) for entry in repository.names(first)} if first else {}
    model.resolved = resolve(name, config, content)
    model.versions = loaded_versions(existing, model)
    check_config(config, model.resolved.platform, report, completed=model.resolved.backend in COMPLETING)
    _check_backend(model)
    ensemble = config.platform == ENSEMBLE or config.HasField("ensemble_scheduling")
    if not ensemble:
        check_model_files(repository, model)
    check_labels(repository, model)
    if not ensemble:
        check_warmup(repository, model)
    check_initial_states(repository, model)
    return model


def _check_backend(model: ModelState) -> None:
    config, resolved, report = model.config, model.resolved, model.report
    if resolved is None or config.platform == ENSEMBLE or config.HasField("ensemble_scheduling"):
        return
    if not resolved.backend:
        if not model.described:
            return  # check_model_files reports it
        if resolved.platform:
            report.field("platform", f"({resolved.platform}) does not determine the backend", 'Set the backend, such as backend: "python".')
        else:
            report.field("backend", "is missing, and no file shows it", 'Set it, such as backend: "python".')
    elif mismatch(resolved):
        wanted = " or ".join(platforms_of(resolved.backend))
        report.field(
            "platform",
            f"is {resolved.platform or 'missing'}, but backend is {resolved.backend}",
            f"Set {wanted}" + ("." if resolved.backend == "tensorflow" else ", or remove platform."),
        )
