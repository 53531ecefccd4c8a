"""Tests never look once at what another process does: only tests/servers.py sleeps, fetches pages and reads logs."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
TESTS = [
    path
    for path in sorted((ROOT / "tests").rglob("*.py"))
    # Doubles are servers themselves: they have clocks, and look again when something has changed.
    if path != ROOT / "tests" / "servers.py" and ROOT / "tests" / "doubles" not in path.parents
]
SLEEPS_AND_FETCHES = re.compile(r"(time\.sleep|(urllib\.request\.)?(urlopen|build_opener))")
LOG = re.compile(r"\blogs?(\(.*\))?$")
COUNTED = re.compile(r"/metrics\b|/stats\b|\bkubectl logs\b|'logs'|'events'")
WAITS = ("eventually", "when")


def looks_once(tree: ast.Module) -> list[str]:
    """Code that a busy machine can make fail."""
    found: list[str] = []

    def visit(node: ast.AST, *, waits: bool) -> None:
        if isinstance(node, ast.Call):
            code, function = ast.unparse(node), ast.unparse(node.func)
            name = function.rpartition(".")[2]
            reads_log = name in {"read_text", "read_bytes"} and LOG.search(function.rpartition(".")[0])
            reads_counter = name in {"fetch", "shell", "kubectl_run"} and not waits and COUNTED.search(code)
            if SLEEPS_AND_FETCHES.fullmatch(function) or reads_log or reads_counter:
                found.append(f"line {node.lineno}: {code}")
            waits = waits or name in WAITS
        for child in ast.iter_child_nodes(node):
            visit(child, waits=waits)

    visit(tree, waits=False)
    return found


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_looked_at_once(path: Path) -> None:
    assert looks_once(ast.parse(path.read_text(encoding="utf-8"))) == [], "use eventually() or Text of tests/servers.py"


@pytest.mark.parametrize(
    ("code", "is_refused"),
    [
        ("time.sleep(1)", True),
        ("urllib.request.urlopen(url)", True),
        ("assert 'ready' in server.log.read_text()", True),
        ("node.layout.log('etcd').read_bytes()", True),
        ("fetch(f'{base}/metrics')", True),
        ("kubectl_run(kubectl, node, 'logs', 'deploy/web')", True),
        ("eventually(lambda: kubectl_run(kubectl, node, 'logs', 'deploy/web'), 'a line')", False),
        ("eventually(lambda: fetch(f'{base}/metrics'), 'a page')", False),
        ("page.read_text()", False),
    ],
)
def test_the_rule(code: str, is_refused: bool) -> None:
    assert bool(looks_once(ast.parse(code))) == is_refused
