"""The house's import rules, read off the source: who may know whom, who may read configuration, what may be loaded when."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COMPONENTS = sorted((ROOT / "components").rglob("*.py"))
FLOORS = {
    "base": set(),
    "helm": {"base"},
    "gpu": {"base", "helm"},
    "existing": {"base"},
    "eks": {"base", "helm", "gpu"},
    "gke": {"base", "helm", "gpu"},
    "monitoring": {"base", "helm"},
    "gateway": {"base", "helm"},
    "serving": {"base"},
    "repository": {"base"},
    "images": {"base"},
    "stack": {"base", "helm", "gpu", "existing", "eks", "gke", "monitoring", "gateway", "serving", "repository", "images"},
}
"""Room -> rooms that it may import. Rooms beside each other meet in stack/ and fleet.py alone, and hand each other handles."""
SDK_ROOMS = {"pulumi_aws": {"eks"}, "pulumi_eks": {"eks"}, "pulumi_gcp": {"gke"}, "kubernetes": {"existing"}}
"""A cloud's SDK -> the rooms that may import it."""
HEAVY = ("boto3", "botocore", "google.cloud", "kubernetes", "pulumi_aws", "pulumi_gcp", "pulumi_eks", "pulumi_docker_build")
"""Loaded only by the stack that uses them."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imports(path: Path, *, typing_only: bool = True, in_functions: bool = True) -> set[str]:
    """Modules that a file imports; without those under ``if TYPE_CHECKING`` or inside functions on request."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name(path)}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            if not in_functions and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                continue
            if not typing_only and isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            visit(child)

    visit(parsed(path))
    return found


def room(module: str) -> str | None:
    """Room of a module such as ``components.gpu.catalogue``; None for what is none of ours and for fleet.py."""
    parts = module.split(".")
    return parts[1] if parts[0] == "components" and len(parts) > 1 and parts[1] in FLOORS else None


def test_every_folder_is_a_room() -> None:
    assert {path.name for path in (ROOT / "components").iterdir() if path.is_dir() and path.name != "__pycache__"} == FLOORS.keys()


@pytest.mark.parametrize("path", COMPONENTS, ids=name)
def test_a_room_imports_the_floors_below_it_alone(path: Path) -> None:
    own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if own is not None:
        assert {found for module in imports(path) if (found := room(module))} <= FLOORS[own] | {own}


@pytest.mark.parametrize("path", COMPONENTS, ids=name)
def test_a_cloud_sdk_is_imported_by_its_cloud_alone(path: Path) -> None:
    own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for sdk, rooms in SDK_ROOMS.items():
        assert own in rooms or not any(module.split(".")[0] == sdk for module in imports(path))


@pytest.mark.parametrize("path", COMPONENTS, ids=name)
def test_the_product_never_imports_what_stands_around_it(path: Path) -> None:
    assert {module for module in imports(path) if module.split(".")[0] in {"local", "tests", "bench", "policy"}} == set()


@pytest.mark.parametrize("path", COMPONENTS, ids=name)
def test_settings_make_no_resource(path: Path) -> None:
    if "settings" not in {*path.parts, path.stem}:
        return
    assert {module for module in imports(path) if module.startswith("pulumi_")} == set()
    assert {module for module in imports(path) if module.split(".")[0] == "pulumi"} == set()


def reads_config(path: Path) -> bool:
    tree = parsed(path)
    attributes = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return bool({"pulumi.Config", "pulumi.runtime.config"} & attributes) or any(
        module in {"pulumi.Config", "pulumi.runtime.config", "pulumi.runtime.get_config"} for module in imports(path)
    )


@pytest.mark.parametrize("path", [*COMPONENTS, ROOT / "__main__.py"], ids=name)
def test_only_the_loader_reads_the_configuration(path: Path) -> None:
    assert reads_config(path) == (path == ROOT / "components" / "stack" / "load.py")


@pytest.mark.parametrize("path", COMPONENTS, ids=name)
def test_only_one_file_decides_by_provider(path: Path) -> None:
    """A room that branches on the cluster's provider would have to change with each new one."""
    if path.parent == ROOT / "components" / "stack":
        return
    tree = parsed(path)
    compared = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, (ast.Compare, ast.Match))]
    assert [code for code in compared if "cluster.provider" in code] == []


@pytest.mark.parametrize("path", COMPONENTS, ids=name)
def test_no_resource_is_made_inside_apply(path: Path) -> None:
    """Such a resource is missing from previews."""
    tree = parsed(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "apply":
            made = [call for argument in node.args for call in ast.walk(argument) if isinstance(call, ast.Call)]
            assert not [call for call in made if any(keyword.arg == "opts" for keyword in call.keywords)], name(path)


def test_the_program_is_short() -> None:
    assert len((ROOT / "__main__.py").read_text(encoding="utf-8").splitlines()) < 40


def test_loading_the_program_loads_no_cloud_sdk_and_is_deterministic() -> None:
    """In a process of its own: this one has them loaded for other tests."""
    script = f"import sys, components.fleet, components.stack.load; print([m for m in sys.modules if m.startswith({HEAVY!r})])"
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
