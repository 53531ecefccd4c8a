"""Checks of models against the Triton deployment that serves them: its backends, GPUs and flags."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.repository.validation.backends import ENSEMBLE
from components.repository.validation.images import backends_of
from components.repository.validation.text import schema

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from components.repository.validation.files import Repository
    from components.repository.validation.model import ModelState


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A Triton deployment, as far as these checks need it."""

    key: str
    """Name in messages, such as ``triton-fleet:serving[0]``."""
    image: str
    gpus: int
    """GPUs, or slices of one, that a pod sees; their ids count from 0."""
    models: Collection[str] | None = None
    """Models that it loads; None: all. Those that an ensemble needs are loaded with it."""
    backends: frozenset[str] | None = None
    """Backends of the image; None: what `components.repository.validation.images` knows of it."""
    arguments: Sequence[str] = ()
    """Further flags of tritonserver, of which the checks use those that matter for loading."""

    @property
    def known_backends(self) -> frozenset[str] | None:
        """Backends of the image; None if unknown."""
        if self.backends is not None:
            return self.backends
        if any(argument.startswith("--backend-directory") for argument in self.arguments):
            return None
        return backends_of(self.image)

    @property
    def auto_complete(self) -> bool:
        """Whether backends may fill in what a config.pbtxt leaves out."""
        off = {"--disable-auto-complete-config", "--strict-model-config", "--strict-model-config=true"}
        return off.isdisjoint(self.arguments)


def check_deployment(repository: Repository, model: ModelState, deployment: Deployment) -> None:
    """Report what this deployment can't run: its backends, its GPUs, its flags."""
    config, report, resolved = model.config, model.report, model.resolved
    if config is None or resolved is None or config.platform == ENSEMBLE or config.HasField("ensemble_scheduling"):
        return
    where = f"{deployment.key} ({deployment.image})"
    known = deployment.known_backends
    if (
        resolved.backend
        and known is not None
        and resolved.backend not in known
        and not _brings_backend(repository, model, resolved.backend)
    ):
        field = "backend" if config.backend or not config.platform else "platform"
        what = f"is {getattr(config, field) or resolved.backend}, which the image of {where} does not have"
        close = difflib.get_close_matches(resolved.backend, known, 1, 0.75)
        remedy = (
            f"Did you mean {close[0]}?" if close else f"Serve it from an image with backend {resolved.backend}, or leave {model.name} out."
        )
        remedy += f" Available: {', '.join(sorted(known)) or 'none'}."
        report.field((field,), what, remedy)
    if not deployment.auto_complete and not model.described:
        report.file(
            "", f"has no config.pbtxt, and {deployment.key} runs with --disable-auto-complete-config", f"Write {model.name}/config.pbtxt."
        )
    kinds = schema().ModelConfig.DESCRIPTOR.file.message_types_by_name["ModelInstanceGroup"].enum_types_by_name["Kind"].values_by_number
    for index, group in enumerate(config.instance_group):
        kind = kinds[group.kind].name if group.kind in kinds else ""
        beyond = [gpu for gpu in group.gpus if not 0 <= gpu < deployment.gpus]
        here = ("instance_group", index)
        if kind == "KIND_GPU" and deployment.gpus == 0:
            report.field(
                (*here, "kind"),
                f"is KIND_GPU, and the pods of {where} have no GPU",
                f"Write KIND_CPU or KIND_AUTO, set {deployment.key}.resources.gpus, or leave {model.name} out.",
            )
        elif kind in {"KIND_GPU", "KIND_AUTO"} and beyond:
            ids = "has none" if deployment.gpus == 0 else f"has ids 0 to {deployment.gpus - 1}" if deployment.gpus > 1 else "has only id 0"
            report.field(
                (*here, "gpus"),
                f"names {beyond[0]}, and a pod of {where} {ids}",
                f"Use existing ids, or raise {deployment.key}.resources.gpus.",
            )


def _brings_backend(repository: Repository, model: ModelState, backend: str) -> bool:
    """Whether the model has its backend's library with it: in its folder or in a version's (``GetBackendLibrarySearchPaths``)."""
    library = model.config.runtime or f"libtriton_{backend}.so"
    folders = [model.root, *(model.root / str(version) for version in model.versions)]
    return any(repository.kind(folder / library) in {"file", "closed"} for folder in folders if "\0" not in library)
