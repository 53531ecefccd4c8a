"""Settings that would expose a deployment: what is refused, what is warned of."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from components.serving.settings import ServingSettings


def settings(**fields: Any) -> ServingSettings:
    return ServingSettings.model_validate({"image": "registry.example/triton:1", **fields})


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"image": "nvcr.io/nvidia/tritonserver:23.10-py3"}, r"image \(nvcr.io/nvidia/tritonserver:23.10-py3\) is older than 23.11"),
        ({"image": "mirror.example/tritonserver:22.12-py3-min"}, "is older than 23.11"),
        ({"env": {"AIP_MODE": "PREDICTION"}}, "env sets AIP_MODE: it would open Triton's admin endpoints"),
        ({"env": {"TRITON_ADMIN_KEY": "x"}}, "change their key"),
        ({"admin": {"open": ["model-repository"]}}, "shared-memory"),
        ({"networkPolicy": {"cidrs": ["10.0.0.1/8"]}}, "Clear the host bits"),
        ({"networkPolicy": {"egress": [{"cidr": "everywhere"}]}}, "is not an IPv4 network"),
        ({"networkPolicy": {"egress": [{"cidr": "10.0.0.0/8", "namespace": "shop"}]}}, "a peer is one or the other. Write two rules"),
        ({"networkPolicy": {"egress": [{"ports": [0]}]}}, "greater than or equal to 1"),
    ],
)
def test_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        settings(**fields)


@pytest.mark.parametrize("image", ["nvcr.io/nvidia/tritonserver:23.11-py3", f"x/tritonserver:26.07-py3@sha256:{'1' * 64}", "x/mine:1"])
def test_an_image_that_knows_the_flags(image: str) -> None:
    assert settings(image=image).image == image


@pytest.mark.parametrize("name", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "NGC_API_KEY", "db_password", "GITHUB_PAT"])
def test_a_credential_among_the_variables_is_warned_of(name: str) -> None:
    (warning,) = settings(env={name: "x", "OMP_NUM_THREADS": "1"}).warnings()
    assert name in str(warning)
    assert "envFromSecrets" in str(warning)


@pytest.mark.parametrize("env", [{"TOKENIZERS_PARALLELISM": "false"}, {"TLS_KEY_FILE": "/x"}, {"HF_TOKEN": ""}, {"KEYBOARD": "x"}])
def test_what_is_no_credential_is_not(env: dict[str, str]) -> None:
    assert list(settings(env=env).warnings()) == []
