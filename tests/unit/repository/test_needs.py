from __future__ import annotations

from typing import TYPE_CHECKING

from components.repository.scan.folder import scan
from components.repository.scan.needs import needs

if TYPE_CHECKING:
    from pathlib import Path


def test_the_sample_pipeline_needs_its_steps(project: Path) -> None:
    folder = project / "models"
    assert needs(folder, ["add_sub", "busy", "pipeline", "upper"]) == {"pipeline": ("add_sub", "busy")}


def test_what_can_not_be_read_needs_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.pbtxt").write_text("ensemble_scheduling { step { model_name: ")
    assert needs(tmp_path, ["broken", "absent"]) == {}


def test_bytes_of_each_model(tmp_path: Path) -> None:
    for name, size in (("a", 10), ("b", 0)):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "model.onnx").write_bytes(bytes(size))
    assert scan(tmp_path).sizes == {"a": 10, "b": 0}
