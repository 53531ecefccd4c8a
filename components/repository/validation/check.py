"""All checks of a model repository, in order."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from components.base.errors import Problem
from components.repository.validation.backends import backend_of_platform, mismatch, platforms_of, resolve
from components.repository.validation.config import check_config
from components.repository.validation.deployment import Deployment, check_deployment, check_metrics
from components.repository.validation.ensemble import check_ensemble, cycles
from components.repository.validation.files import Repository
from components.repository.validation.model import ModelState, loaded_versions, read_config, versions_of
from components.repository.validation.modelfiles import check_checksums, check_initial_states, check_labels, check_model_files, check_warmup
from components.repository.validation.report import Report, printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


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
    for model in read.values():
        if model.config is not None:
            check_ensemble(model, read, set(present) - set(wanted))
    for circle in cycles({name: model.steps for name, model in read.items() if model.steps}):
        for name in circle:
            read[name].report.field("ensemble_scheduling", f"is circular ({' -> '.join((*circle, circle[0]))})", "Remove one of the steps.")
    for deployment in deployments:
        served = [read[name] for name in _served(read, deployment)]
        for model in served:
            check_deployment(repository, model, deployment)
        check_metrics(repository, served, deployment)
    found = [
        problem for name in wanted for problem in sorted(read[name].report.problems, key=lambda problem: (problem.file, problem.line or 0))
    ]
    return [*_top(repository), *found, *_not_checked(read)]


def _top(repository: Repository) -> list[Problem]:
    """Report a config.pbtxt outside the models' folders."""
    if repository.kind(repository.folder / "config.pbtxt") != "file":
        return []
    text = (
        "is not in a model's folder: Triton would not read it. Move it into a folder with the model's name; if the whole folder is one "
        "model, set triton-fleet:repository.source to its parent folder."
    )
    return [Problem(file="config.pbtxt", text=text, fatal=False)]


def _not_checked(models: dict[str, ModelState]) -> list[Problem]:
    """One note about everything that can't be checked."""
    parts = [
        f"{name} ({', '.join(sorted(model.unjudged))})"
        for name, model in models.items()
        if model.unjudged and not any(problem.fatal for problem in model.report.problems)
    ]
    text = f"Not checked, because only the backend's code shows it: {', '.join(parts)}. The model may still fail to load."
    return [Problem(text=printable(text), fatal=False, note=True)] if parts else []


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
    _check_backend(model)
    if model.relocated:
        model.unjudged.add("files, which a repository agent may replace")
    elif not model.is_ensemble:
        check_model_files(repository, model)
    if not model.is_ensemble:
        check_warmup(repository, model)
    check_config(config, model.resolved.platform, report, completed=model.completes_tensors)
    if model.completes_tensors and model.row.by_code and not all(t.data_type and t.dims for t in (*config.input, *config.output)):
        model.unjudged.add("types and shapes that config.pbtxt leaves out")
    check_labels(repository, model)
    check_checksums(repository, model)
    check_initial_states(repository, model)
    return model


def _check_backend(model: ModelState) -> None:
    resolved, report = model.resolved, model.report
    if resolved is None or model.is_ensemble:
        return
    if os.path.normpath(model.config.runtime).startswith(".."):
        what = f"({model.config.runtime}) is outside the backend's folder"
        report.field("runtime", what, "Name a library of the backend, or one in the model's folder.")
    if not resolved.backend and model.relocated and not resolved.platform:
        return
    if not resolved.backend:
        if not model.described:
            return  # check_model_files reports it
        if resolved.platform:
            report.field("platform", f"({resolved.platform}) does not determine the backend", backend_of_platform(resolved.platform))
        else:
            report.field("backend", "is missing, and no file shows it", 'Set it, such as backend: "python".')
    elif mismatch(resolved):
        wanted = " or ".join(platforms_of(resolved.backend))
        report.field(
            "platform",
            f"is {resolved.platform or 'missing'}, but backend is {resolved.backend}",
            f"Set {wanted}" + ("." if resolved.backend == "tensorflow" else ", or remove platform."),
        )
