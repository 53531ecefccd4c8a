"""A real tritonserver with the sample models, from the image that the embedded platform runs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.unit.tritonserver import Server, tritonserver

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from local.images import box


CPU_MODELS = ("add_sub", "busy", "pipeline", "upper")


@pytest.fixture(scope="session")
def start_triton(triton_box: box.Box, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[Server]]:
    """Start a tritonserver; arguments are those of `tritonserver` after its log."""
    return lambda *args, **options: tritonserver(triton_box, tmp_path_factory.mktemp("log") / "triton.log", *args, **options)


@pytest.fixture(scope="session")
def cpu_models(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the models that run without a GPU."""
    folder = tmp_path_factory.mktemp("models")
    for name in CPU_MODELS:
        shutil.copytree(project / "models" / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the server runs as another user
    folder.parent.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def triton(start_triton: Callable[..., AbstractContextManager[Server]], cpu_models: Path) -> Generator[Server]:
    """One server for all tests that only ask."""
    with start_triton("/models", models=cpu_models) as server:
        yield server
