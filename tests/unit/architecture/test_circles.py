"""No module imports, directly or through others, a module that imports it: at the top, in a function or for typing alone."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[3]
FOLDERS: Final = ("bench", "components", "local", "tests")


def modules(root: Path, folders: tuple[str, ...]) -> dict[str, Path]:
    """Files by module name; a package goes by the name of its folder."""
    files = [path for folder in folders for path in (root / folder).rglob("*.py")]
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def imported(path: Path) -> Iterator[str]:
    """Every name that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def circle(root: Path, folders: tuple[str, ...]) -> list[str]:
    """A circle of imports, its first module also at the end; empty where there is none."""
    known = modules(root, folders)
    graph = {
        name: {m for one in imported(path) if (m := one if one in known else one.rpartition(".")[0]) in known}
        for name, path in known.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def test_no_modules_import_each_other() -> None:
    assert circle(ROOT, FOLDERS) == []


def test_an_import_for_typing_in_a_function_closes_a_circle(tmp_path: Path) -> None:
    (tmp_path / "house").mkdir()
    (tmp_path / "house" / "__init__.py").write_text("import house.a\n")
    (tmp_path / "house" / "a.py").write_text("from house.b import thing\n")
    (tmp_path / "house" / "b.py").write_text("def work():\n    if TYPE_CHECKING:\n        from house import a\n")
    assert set(circle(tmp_path, ("house",))) == {"house.a", "house.b"}
