"""A real tritonserver that loads models one by one on request, from the image that the embedded platform runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.repository.validation.cases import CASES, FINE
from tests.unit.tritonserver import Server, tritonserver

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from local.images import box


@pytest.fixture(scope="session")
def start_triton(triton_box: box.Box, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], AbstractContextManager[Server]]:
    """Start a server that has all cases in its repository and none loaded."""
    here = tmp_path_factory.mktemp("triton")
    models = here / "models"
    for case in (*CASES, *FINE):
        if case.triton != "not asked":
            case.write(models)
    here.chmod(0o755)
    for path in (models, *models.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the server runs as another user

    def start() -> AbstractContextManager[Server]:
        flags = ("--model-control-mode=explicit", "--model-load-thread-count=8")
        return tritonserver(triton_box, tmp_path_factory.mktemp("log") / "triton.log", "/models", *flags, models=models, until="live")

    return start
