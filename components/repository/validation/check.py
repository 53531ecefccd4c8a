"""`validate`: runs all checks of a model repository."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.repository.validation.backends import COMPLETING, ENSEMBLE, mismatch, platforms_of, resolve
from components.repository.validation.config import check_config
from components.repository.validation.deployment import Deployment, check_deployment
from components.repository.validation.ensemble import Composable, check_ensemble, cycles
from components.repository.validation.files import Repository
from components.repository.validation.model import ModelState, loaded_versions, read_config, versions_of
from components.repository.validation.modelfiles import check_initial_states, check_labels, check_model_files
from components.repository.validation.report import Report
from components.repository.validation.warmup import check_warmup

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from components.base.errors import Problem


def validate(folder: Path, models: Sequence[str] | None = None, deployments: Sequence[Deployment] = ()) -> list[Problem]:
    """Return what would keep Triton from loading the ``models`` in ``folder`` (None: every sub-folder), or from serving them as intended.

    Args:
        folder: the repository, with one sub-folder per model. Nothing outside it is read.
        models: names of those that are uploaded together. The scan reports names without a folder.
        deployments: Triton deployments that serve them; without any, backends and GPUs are not checked.

    Returns:
        Problems, ordered by model, file and line.
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
            read[name].report.field(
                ("ensemble_scheduling",),
                f"closes a cycle of ensembles ({' -> '.join((*circle, circle[0]))})",
                "Remove one of the steps.",
            )
    for deployment in deployments:
        for name in _served(read, deployment):
            check_deployment(repository, read[name], deployment)
    return [
        problem for name in wanted for problem in sorted(read[name].report.problems, key=lambda problem: (problem.file, problem.line or 0))
    ]


def _served(models: dict[str, ModelState], deployment: Deployment) -> list[str]:
    """Return the models that a deployment loads, including those of its ensembles."""
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
            return  # noted with the missing files
        if resolved.platform:
            report.field(
                ("platform",),
                f"is {resolved.platform}, which does not determine a backend",
                'Write the backend, such as backend: "python".',
            )
        else:
            report.field(("backend",), "is missing, and no file determines it", 'Write it, such as backend: "python".')
    elif mismatch(resolved):
        wanted = " or ".join(platforms_of(resolved.backend))
        report.field(
            ("platform",),
            f"is {resolved.platform or 'missing'}, and backend is {resolved.backend}",
            f"Write {wanted}" + ("." if resolved.backend == "tensorflow" else ", or remove platform."),
        )
