"""What a model brings along: its bytes, and the steps of an ensemble as its config.pbtxt names them. Judges nothing (`validation` does)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.repository.validation.report import Report
from components.repository.validation.text import MAX_BYTES, parse

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from components.repository.scan import Plan


def model_sizes(plan: Plan) -> dict[str, int]:
    """Bytes of each model of a plan, by name."""
    sizes = dict.fromkeys(plan.models, 0)
    for file in plan.files:
        sizes[file.path.split("/", 1)[0]] += file.size
    return sizes


def needs(folder: Path, models: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Names that each of ``models`` (sub-folders of ``folder``) loads with itself, sorted; models that load none are left out."""
    found = {name: _steps(folder / name / "config.pbtxt", name) for name in models}
    return {name: steps for name, steps in sorted(found.items()) if steps}


def _steps(path: Path, model: str) -> tuple[str, ...]:
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ()
    if "ensemble_scheduling" not in text:  # most models: spares them the parser
        return ()
    config = parse(text, Report(model))
    return () if config is None else tuple(sorted({str(step.model_name) for step in config.ensemble_scheduling.step}))
