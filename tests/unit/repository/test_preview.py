"""What a preview says of an upload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.repository.progress import changes
from components.repository.release.layout import StoredFile, Tree
from components.repository.scan.folder import scan

if TYPE_CHECKING:
    from pathlib import Path

    from components.repository.scan.plan import Plan


def models(root: Path, **content: dict[str, str]) -> Plan:
    for model, files in content.items():
        for path, text in files.items():
            (root / model / path).parent.mkdir(parents=True, exist_ok=True)
            (root / model / path).write_text(text)
    return scan(root)


def published(plan: Plan, model: str) -> Tree:
    files = (file for file in plan.files if file.path.startswith(f"{model}/"))
    held = tuple(StoredFile(path=file.path, size=file.size, sha256=file.sha256, etag="") for file in files)
    return Tree(model=model, digest=plan.models[model], whole=True, files=held)


def test_all_is_new_at_first(tmp_path: Path) -> None:
    plan = models(tmp_path, one={"1/model.py": "x" * 2048}, two={"1/model.py": "y", "config.pbtxt": "z"})
    assert changes(plan, {}, {}) == ["+ one: 1 file, 2.0 KiB to send", "+ two: 2 files, 2 B to send"]


def test_new_changed_gone_and_unchanged(tmp_path: Path) -> None:
    first = models(tmp_path, one={"1/model.py": "1", "1/a": "aa", "1/b": "bbb"}, two={"1/model.py": "2"}, three={"1/model.py": "3"})
    (tmp_path / "one/1/a").unlink()
    (tmp_path / "one/1/b").rename(tmp_path / "one/1/moved")
    for path in ("three/1/model.py", "three/1"):
        (tmp_path / path).unlink() if path.endswith("py") else (tmp_path / path).rmdir()
    (tmp_path / "three").rmdir()
    second = models(tmp_path, one={"1/model.py": "other", "1/new": "1234567"}, four={"1/model.py": "4"})
    assert changes(second, first.models, {"one": published(first, "one")}) == [
        "+ four: 1 file, 1 B to send",
        "~ one: 2 new, 1 changed, 2 gone of 3 files, 12 B to send",
        "- three: gone",
        "1 unchanged",
    ]
    assert changes(second, first.models, {})[1] == "~ one: changed, 3 files, 15 B in all"


def test_a_thousand_models_are_not_a_thousand_lines(tmp_path: Path) -> None:
    plan = models(tmp_path, **{f"m{number:03}": {"1/model.py": "x"} for number in range(40)})
    assert len(changes(plan, {}, {})) == 31
    assert changes(plan, {}, {})[-1] == "and 10 more"
