"""Reads which models an ensemble needs from its config.pbtxt. `components.repository.validation` checks that they exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.repository.validation.report import Report
from components.repository.validation.text import MAX_BYTES, parse

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def needs(folder: Path, models: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Map each of ``models`` (subfolders of ``folder``) to the sorted names of its ensemble steps. Models without steps are omitted."""
    found = {name: _steps(folder / name / "config.pbtxt", name) for name in models}
    return {name: steps for name, steps in sorted(found.items()) if steps}


def _steps(path: Path, model: str) -> tuple[str, ...]:
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ()
    if "ensemble_scheduling" not in text:  # true of most models, and much cheaper than parsing
        return ()
    config = parse(text, Report(model))
    return () if config is None else tuple(sorted({str(step.model_name) for step in config.ensemble_scheduling.step}))
