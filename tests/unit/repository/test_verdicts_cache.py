"""Findings of validation that are remembered: unchanged models are not validated again, and every change is seen."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from components.repository.scan import verdicts
from components.repository.scan.verdicts import checked
from components.repository.validation import Deployment, validate
from tests.unit.repository.validation.cases import CASES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from components.base.errors import Problem

MODELS: Final = {
    "unknown_type",
    "given_twice",
    "config_is_a_folder",
    "preferred_zero",
    "leftover_download",
    "type_missing",
    "step_model_absent",
}
DEPLOYMENT: Final = Deployment(key="a", image="nvcr.io/nvidia/tritonserver:26.07-py3", gpus=0, backends=frozenset({"python", "fil"}))


class Folder:
    """A folder of models, and a cache that counts how often it is validated."""

    def __init__(self, tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.models, self.cache, self.runs, self.later_ns = tmp / "models", tmp / "cache", 0, 10 * 10**9
        now = time.time_ns
        monkeypatch.setattr("time.time_ns", lambda: now() + self.later_ns)
        monkeypatch.setattr(verdicts, "validate", self._validate)

    def _validate(self, *arguments: Any) -> list[Problem]:
        self.runs += 1
        return validate(*arguments)

    def check(self, *deployments: Deployment, models: Sequence[str] | None = None, verify: bool = False, **environ: str) -> bool:
        """Whether the models are validated; the result is that of the validation either way."""
        before, asked = self.runs, deployments or (DEPLOYMENT,)
        found = checked(self.models, models, asked, environ={"XDG_CACHE_HOME": str(self.cache), **environ}, verify=verify)
        assert found == validate(self.models, models, asked)
        return self.runs > before

    @property
    def file(self) -> Path:
        (file,) = (self.cache / "triton-fleet/validation").iterdir()
        return file


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    folder = Folder(tmp_path, monkeypatch)
    for case in CASES:
        if case.name in MODELS:
            case.write(folder.models)
    return folder


def test_unchanged_models_are_validated_once(folder: Folder) -> None:
    assert [folder.check() for _ in range(3)] == [True, False, False]


def rewritten_with_its_old_time(models: Path) -> None:
    file = models / "unknown_type/config.pbtxt"
    seen = file.stat()
    file.write_bytes(file.read_bytes().replace(b"TYPE_FLOAT", b"TYPE_INT32"))
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def a_file_in_place_of_a_folder(models: Path) -> None:
    (models / "config_is_a_folder/config.pbtxt").rmdir()
    (models / "config_is_a_folder/config.pbtxt").write_text("")


CHANGES: Final[dict[str, Callable[[Path], object]]] = {
    "content, size and time as before": rewritten_with_its_old_time,
    "a new model": lambda models: (models / "new").mkdir(),
    "an empty folder in a model": lambda models: (models / "given_twice/2nd").mkdir(),
    "a file beside the models": lambda models: (models / "config.pbtxt").write_text("x"),
    "a file less": lambda models: (models / "given_twice/1/model.py").unlink(),
    "another name": lambda models: (models / "given_twice/1").rename(models / "given_twice/one"),
    "a file in place of a folder": a_file_in_place_of_a_folder,
    "other rights": lambda models: (models / "given_twice/config.pbtxt").chmod(0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(folder: Folder, change: str) -> None:
    folder.check()
    CHANGES[change](folder.models)
    assert folder.check()
    assert not folder.check()


def test_other_settings_are_other_findings_and_both_are_kept(folder: Folder) -> None:
    others: list[tuple[Deployment, list[str] | None]] = [
        (DEPLOYMENT, None),
        (replace(DEPLOYMENT, gpus=1), None),
        (replace(DEPLOYMENT, backends=frozenset({"python"})), None),
        (replace(DEPLOYMENT, arguments=["--disable-auto-complete-config"]), None),
        (DEPLOYMENT, ["given_twice"]),
        (DEPLOYMENT, []),
    ]
    for expected in (True, False):
        assert [folder.check(deployment, models=models) for deployment, models in others] == [expected] * len(others)
    for gpus in range(2, 12):
        folder.check(replace(DEPLOYMENT, gpus=gpus))
    assert folder.check()
    assert folder.file.read_text().count('"note"') > 0


def test_other_code_is_not_believed(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.check()
    (tmp_path / "rules.py").write_text("RULE = 1\n")
    monkeypatch.setattr(verdicts, "_CODE", (*verdicts._CODE, tmp_path))
    assert folder.check()
    monkeypatch.setattr("importlib.metadata.version", lambda _: "0")
    assert folder.check()


def test_all_is_validated_on_request(folder: Folder) -> None:
    folder.check()
    assert folder.check(verify=True)
    assert folder.check(TRITON_FLEET_VERIFY="1")
    assert not folder.check(TRITON_FLEET_VERIFY="0")


def test_a_file_just_written_is_not_believed(folder: Folder) -> None:
    folder.later_ns = 0
    (folder.models / "given_twice/config.pbtxt").write_text("")
    assert folder.check()
    assert folder.check()


def test_links(folder: Folder, tmp_path: Path) -> None:
    target = folder.models / "given_twice/1/model.py"
    link = folder.models / "preferred_zero/1/model.py"
    link.unlink()
    link.symlink_to(target)
    folder.check()
    assert not folder.check()
    target.write_text("")
    assert folder.check()
    target.unlink()
    assert [folder.check(), folder.check()] == [True, True]
    link.unlink()
    folder.check()
    assert not folder.check()
    (tmp_path / "outside").mkdir()
    (folder.models / "linked").symlink_to(tmp_path / "outside")
    assert [folder.check(), folder.check()] == [True, True]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"a": 1}', b"\xff" * 100])
def test_damage_costs_a_validation(folder: Folder, damage: bytes) -> None:
    folder.check()
    folder.file.write_bytes(damage)
    assert [folder.check(), folder.check()] == [True, False]


def test_a_damaged_finding_costs_a_validation(folder: Folder) -> None:
    folder.check()
    folder.file.write_text(folder.file.read_text().replace('"text"', '"words"'))
    assert [folder.check(), folder.check()] == [True, False]


def test_a_cache_that_cannot_be_written(folder: Folder) -> None:
    folder.cache.write_text("in the way")
    assert [folder.check(), folder.check()] == [True, True]
