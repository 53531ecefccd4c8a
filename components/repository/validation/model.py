"""A model's configuration and version directories."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from components.repository.validation.backends import ENSEMBLE, NO_BACKEND
from components.repository.validation.files import LFS_POINTER, Repository
from components.repository.validation.schema import schema
from components.repository.validation.text import MAX_BYTES, parse

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from components.repository.validation.backends import Backend, Resolved
    from components.repository.validation.report import Report

_STOLL: Final = re.compile(r"^[ \t]*[+-]?\d+")
"""The prefix that C++'s ``stoll``, which Triton uses, reads as a version number."""

_VERSION: Final = re.compile(r"^[1-9]\d*\Z")

_MAX_VERSION: Final = (1 << 63) - 1

_OTHER_NAMES: Final = frozenset(
    {
        *("config.pbtxt", "config.pbtext", "config.txt", "config.pbtxt.txt", "model.pbtxt", "config.pb.txt"),
        *(f"config.pbtxt.{template}" for template in ("in", "j2", "jinja", "jinja2", "template", "tmpl", "tpl")),
    }
)
"""What config.pbtxt is called by mistake, in lower case."""

_NOT_VERSIONS: Final = frozenset({"warmup", "initial_state", "configs"})


@dataclass(kw_only=True)
class ModelState:
    """A model, as far as it can be read."""

    name: str
    root: Path
    report: Report
    config: Any = None
    described: bool = False
    """Whether the model has a config.pbtxt."""
    resolved: Resolved | None = None
    versions: list[int] = field(default_factory=list)
    """Versions that Triton loads, newest first."""
    code_completes: bool = False
    """Whether the model's own Python code may complete the model configuration."""
    relative_environment: str = ""
    """EXECUTION_ENV_PATH if it is relative to the directory in which tritonserver runs. Only the image shows whether it exists."""
    unjudged: set[str] = field(default_factory=set)
    """What can't be checked."""

    @property
    def row(self) -> Backend:
        """What is known of its backend; an empty row for an ensemble, or if the backend is unknown."""
        return NO_BACKEND if self.resolved is None else self.resolved.row

    @property
    def is_ensemble(self) -> bool:
        """Whether Triton takes it for an ensemble."""
        return self.config is not None and (self.config.platform == ENSEMBLE or self.config.HasField("ensemble_scheduling"))

    @property
    def relocated(self) -> bool:
        """Whether a repository agent may give Triton other files than the model's folder has; ``checksum`` only reads them."""
        return self.config is not None and any(agent.name != "checksum" for agent in self.config.model_repository_agents.agents)

    @property
    def completed(self) -> bool:
        """Whether the backend fills in anything at all."""
        return not self.is_ensemble and self.resolved is not None and (self.code_completes or self.row.name != "python")

    @property
    def completes_tensors(self) -> bool:
        """Whether the backend fills in a missing type and shape of a listed tensor."""
        return self.completed and self.row.completes

    @property
    def sets_batch(self) -> bool:
        """Whether the backend may set a max_batch_size that is missing or 0."""
        return self.completed and {"": False, "always": True}.get(self.row.batch, self.adds("input") or self.adds("output"))

    @property
    def decoupled(self) -> bool | None:
        """Whether the model is decoupled; None if that is not known."""
        if self.config.model_transaction_policy.decoupled:
            return True
        return None if self.completed and self.row.by_code else False

    def adds(self, side: str) -> bool:
        """Whether the backend adds tensors to ``input`` or ``output``, beside those that config.pbtxt lists."""
        if self.config is None:
            return True
        adds = self.row.adds(side)
        listed = getattr(self.config, side) or (side == "input" and self.row.name == "onnxruntime" and self.config.batch_input)
        return self.completed and (adds == "missing" or (adds == "empty" and not listed))

    @property
    def steps(self) -> list[str]:
        """Models of an ensemble's steps."""
        return [] if self.config is None else [step.model_name for step in self.config.ensemble_scheduling.step]


def _report_misplaced(repository: Repository, model: ModelState) -> None:
    """Report files that are probably meant to be the model's config.pbtxt."""
    unread = f"Triton reads {model.name}/config.pbtxt only, and {model.name} would have no configuration"
    for entry in repository.names(model.root):
        if entry.lower() in _OTHER_NAMES:
            model.report.file(entry, "has the wrong name", "Rename it to config.pbtxt.", warning=unread)
        elif repository.kind(model.root / entry / "config.pbtxt") == "file":
            remedy = f"Move it into {model.name}/."
            if not entry.isdigit():
                remedy = f"If {entry} is a model, move its folder up, or set triton-fleet:repository.source to the folder {model.name}."
            model.report.file(f"{entry}/config.pbtxt", "is in a sub-folder", remedy, warning=unread)


def read_config(repository: Repository, model: ModelState) -> Any | None:
    """The model configuration, empty without a config.pbtxt; None if it cannot be read, which is reported."""
    path = model.root / "config.pbtxt"
    kind = repository.kind(path)
    if kind == "absent":
        _report_misplaced(repository, model)
        return schema().ModelConfig()
    model.described = True
    if kind != "file":
        if kind == "folder":
            model.report.file("config.pbtxt", "is a folder", "Replace it with a file.", consequence="Triton would crash")
        return None
    raw = repository.read(path, MAX_BYTES + 1)
    if raw is None or raw.startswith(LFS_POINTER):
        return None
    if len(raw) > MAX_BYTES:
        model.report.file(
            "config.pbtxt",
            f"is longer than {MAX_BYTES >> 20} MiB",
            "Move the model's data into a version directory.",
        )
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        model.report.file(
            "config.pbtxt",
            "is not UTF-8",
            "Save it as UTF-8 without a byte order mark.",
            warning="clients and the model would see broken text",
            line=line,
        )
        text = raw.decode("latin-1")
    if text.startswith("\ufeff"):
        model.report.file("config.pbtxt", "begins with a byte order mark", "Save it as UTF-8 without one.", line=1)
        text = text[1:]
    return parse(text, model.report)


def versions_of(folders: Sequence[str], model: ModelState) -> list[int]:
    """Versions of the version directories, newest first. Reports names that Triton would misread as versions."""
    versions = []
    for name in folders:
        if name == "0" or (_VERSION.match(name) and int(name) <= _MAX_VERSION):
            versions.append(int(name))
        elif name in _NOT_VERSIONS or _STOLL.match(name) is None:
            continue
        elif len(name) > 1 and name.startswith("0"):
            if name.isdigit():
                model.report.file(name, "has a leading zero", f"Rename it to {int(name) or 1}.", warning="Triton would skip this version")
        elif name.isdigit():
            model.report.file(name, "is a version number above 64 bits", "Rename it to a smaller number.", consequence="Triton would crash")
        else:
            number = _STOLL.match(name)
            model.report.file(
                name,
                "starts with a number but is not a version number",
                "Rename it to a number, or start its name with a letter.",
                consequence=f"Triton would take it for version {int(number[0]) if number else name} and not find its directory",
            )
    return sorted(versions, reverse=True)


def loaded_versions(existing: Sequence[int], model: ModelState) -> list[int]:
    """Versions that Triton loads under the version_policy (``VersionsToLoad`` in Triton's core)."""
    policy = model.config.version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "specific":
        asked = list(policy.specific.versions)
        missing = [version for version in asked if version not in existing]
        if not asked:
            model.report.field("version_policy.specific", "is empty", "List versions, or use latest or all.")
        elif missing and existing:
            model.report.field(
                "version_policy.specific.versions",
                f"({', '.join(map(str, missing))}) has no version directory",
                f"Add the directory, or use versions that exist: {', '.join(map(str, sorted(existing)))}.",
                warning=f"Triton would load {model.name} without it" if len(missing) < len(asked) else "",
            )
        return [version for version in existing if version in asked]
    if choice == "all":
        return list(existing)
    return list(existing[: policy.latest.num_versions if choice == "latest" else 1])
