"""A model as it lies in its folder: its config.pbtxt and its versions."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from components.repository.validation.files import LFS_POINTER, Repository
from components.repository.validation.text import MAX_BYTES, parse, schema

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from components.repository.validation.backends import Resolved
    from components.repository.validation.report import Report

_STOLL: Final = re.compile(r"^[ \t]*[+-]?\d+")
"""What C++'s ``stoll``, with which Triton reads versions, takes from the front of a folder's name."""

_VERSION: Final = re.compile(r"^[1-9]\d*\Z")

_MAX_VERSION: Final = (1 << 63) - 1

_NOT_VERSIONS: Final = frozenset({"warmup", "initial_state", "configs"})


@dataclass(kw_only=True)
class ModelState:
    """A model, as far as it could be read."""

    name: str
    root: Path
    report: Report
    config: Any = None
    described: bool = False
    """Whether there is a config.pbtxt."""
    resolved: Resolved | None = None
    versions: list[int] = field(default_factory=list)
    """Versions that Triton loads, newest first."""
    completes_itself: bool = False

    @property
    def steps(self) -> list[str]:
        """Models that an ensemble names."""
        return [] if self.config is None else [step.model_name for step in self.config.ensemble_scheduling.step]


def read_config(repository: Repository, model: ModelState) -> Any | None:
    """The model's configuration, empty where it has none; None where it can't be read, which is noted."""
    path = model.root / "config.pbtxt"
    kind = repository.kind(path)
    if kind == "absent":
        for entry in repository.names(model.root):
            if entry.lower() in {"config.pbtxt", "config.pbtext", "config.txt", "config.pbtxt.txt", "model.pbtxt", "config.pb.txt"}:
                model.report.file(
                    entry,
                    "is not read: Triton looks for config.pbtxt",
                    "Rename it.",
                    consequence=f"{model.name} would have no configuration",
                )
        return schema().ModelConfig()
    model.described = True
    if kind != "file":
        if kind == "folder":
            model.report.file("config.pbtxt", "is a folder", "Make it a file.", consequence="Triton would crash")
        return None
    raw = repository.read(path, MAX_BYTES + 1)
    if raw is None or raw.startswith(LFS_POINTER):
        return None
    if len(raw) > MAX_BYTES:
        model.report.file(
            "config.pbtxt", f"is longer than {MAX_BYTES >> 20} MiB", "Put the configuration there, and the model into a version folder."
        )
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        model.report.file(
            "config.pbtxt",
            "is not UTF-8",
            "Save it as UTF-8, without a byte order mark.",
            line=line,
            consequence="names and values in it would reach clients and the model as broken text",
            fatal=False,
        )
        text = raw.decode("latin-1")
    if text.startswith("\ufeff"):
        model.report.file("config.pbtxt", "starts with a byte order mark", "Save it as UTF-8 without one.", line=1)
        text = text[1:]
    return parse(text, model.report)


def versions_of(folders: Sequence[str], model: ModelState) -> list[int]:
    """Numbers of the version folders that Triton sees, newest first; names that it would take for a number and not find again are noted."""
    versions = []
    for name in folders:
        if name == "0" or (_VERSION.match(name) and int(name) <= _MAX_VERSION):
            versions.append(int(name))
        elif name in _NOT_VERSIONS or _STOLL.match(name) is None:
            continue
        elif len(name) > 1 and name.startswith("0"):
            if name.isdigit():
                model.report.file(
                    name, "has a leading zero", f"Rename it to {int(name) or 1}.", consequence="Triton would skip this version", fatal=False
                )
        elif name.isdigit():
            model.report.file(name, "does not fit into 64 bits", "Rename it to a smaller one.", consequence="Triton would crash")
        else:
            number = _STOLL.match(name)
            model.report.file(
                name,
                "is not a number, but starts like one",
                "Rename it to a number, or start the name with a letter.",
                consequence=f"Triton would read it as version {int(number[0]) if number else name} and not find that folder",
            )
    return sorted(versions, reverse=True)


def loaded_versions(existing: Sequence[int], model: ModelState) -> list[int]:
    """Versions that Triton loads under the model's policy (``VersionsToLoad`` in Triton's core)."""
    policy = model.config.version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "specific":
        asked = list(policy.specific.versions)
        missing = [version for version in asked if version not in existing]
        if not asked:
            model.report.field(("version_policy", "specific"), "names no version", "Name versions, or use latest or all.")
        elif missing and existing:
            model.report.field(
                ("version_policy", "specific", "versions"),
                f"names {', '.join(map(str, missing))}, which {'does' if len(missing) == 1 else 'do'} not exist",
                f"Add the folder, or name existing versions: {', '.join(map(str, sorted(existing)))}.",
                fatal=len(missing) == len(asked),
            )
        return [version for version in existing if version in asked]
    if choice == "all":
        return list(existing)
    return list(existing[: policy.latest.num_versions if choice == "latest" else 1])
