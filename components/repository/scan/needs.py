"""Models that a model needs: the steps of an ensemble, by its config.pbtxt. `components.repository.validation` checks that they exist."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.repository.validation.report import Report
from components.repository.validation.text import MAX_BYTES, parse

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def needs(folder: Path, models: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Sorted names of the models that Triton loads with each of ``models`` (sub-folders of ``folder``). Models without any are left out."""
    found = {name: _steps(folder / name / "config.pbtxt", name) for name in models}
    return {name: steps for name, steps in sorted(found.items()) if steps}


def _steps(path: Path, model: str) -> tuple[str, ...]:
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ()
    if "ensemble_scheduling" not in text:  # most models; parsing takes longer
        return ()
    config = parse(text, Report(model))
    return () if config is None else tuple(sorted({str(step.model_name) for step in config.ensemble_scheduling.step}))
