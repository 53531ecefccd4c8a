"""charts/triton, for rendering."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.charts.rendering import Chart

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def chart(helm: Path, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Chart:
    """Our chart and the real Helm."""
    return Chart(helm, project / "charts" / "triton", tmp_path_factory.mktemp("chart"))
