"""The `docker-build` double under the real engine: an image of a stack's own, in the registry that the same stack makes."""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING

import pulumi
import pytest

from tests.doubles import docker_build as double
from tests.doubles.aws import DOUBLE, PLUGIN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.doubles.aws.cloud import Cloud
    from tests.engine.conftest import Stack

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # as in test_aws.py
    import pulumi_aws as aws
    import pulumi_docker_build as docker_build

    hasattr(importlib.import_module("pulumi_aws.ecr"), "load")

pytestmark = pytest.mark.engine

DOUBLE_PLUGINS = [(PLUGIN, DOUBLE, None), (double.PLUGIN, double.DOUBLE, None)]


@pytest.fixture
def more_environment(cloud: Cloud) -> dict[str, str]:
    return cloud.environment()


def test_an_image_is_built_once_and_again_when_its_source_changes(doubles: Callable[[Callable[[], None]], Stack], tmp_path: Path) -> None:
    context = tmp_path / "image"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\n")
    know = {"tag": "1"}

    def program() -> None:
        repository = aws.ecr.Repository("images", name="triton", image_tag_mutability="IMMUTABLE", force_delete=True)
        token = aws.ecr.get_authorization_token_output()
        image = docker_build.Image(
            "triton",
            push=True,
            tags=[pulumi.Output.concat(repository.repository_url, ":", know["tag"])],
            context=docker_build.BuildContextArgs(location=str(context)),
            registries=[docker_build.RegistryArgs(address=repository.repository_url, username=token.user_name, password=token.password)],
        )
        pulumi.export("ref", image.ref)

    stack = doubles(program)
    first = stack.up().outputs["ref"].value
    assert "/triton@sha256:" in first
    assert stack.preview() == {}
    (context / "Dockerfile").write_text("FROM scratch\nLABEL a=b\n")
    assert stack.preview() == {"update": 1}
    assert "immutable" in stack.fails(stack.up), "another image under the same tag"
    know["tag"] = "2"
    assert stack.up().outputs["ref"].value != first
    (context / "Dockerfile").unlink()
    assert "no such file or directory" in stack.fails(stack.preview)
