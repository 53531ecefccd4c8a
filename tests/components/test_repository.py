"""The model repository under the SDK's mocks, and the address that Triton gets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pytest
from pulumi.runtime.rpc import deserialize_properties
from pulumi.runtime.stack import wait_for_rpcs

from components.base.errors import FleetError
from components.repository.resource import ModelRepository, ModelRepositoryArgs, store_url
from components.repository.scan.folder import scan
from components.repository.settings import RepositorySettings

if TYPE_CHECKING:
    from tests.components.conftest import Recorder

MODELS = Path(__file__).resolve().parents[2] / "models"


@pytest.fixture(autouse=True)
def no_store_of_the_shells_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def settings(**fields: Any) -> RepositorySettings:
    return RepositorySettings(bucket="fleet-models", **fields)


async def declare(recorder: Recorder, **fields: Any) -> ModelRepository:
    try:
        return ModelRepository("models", ModelRepositoryArgs(settings=settings(**fields), plan=scan(MODELS, ["add_sub"])))
    finally:
        await wait_for_rpcs()


@pytest.mark.parametrize(
    ("fields", "environ", "url"),
    [
        ({}, {}, "s3://fleet-models/models"),
        ({"prefix": "a/b"}, {}, "s3://fleet-models/a/b"),
        ({"endpoint": "http://store:9000"}, {}, "s3://http://store:9000/fleet-models/models"),
        ({"endpoint": "https://store"}, {}, "s3://https://store:443/fleet-models/models"),
        ({"cluster_endpoint": "http://store"}, {}, "s3://http://store:80/fleet-models/models"),
        ({"endpoint": "http://a:1", "cluster_endpoint": "http://b:2"}, {}, "s3://http://b:2/fleet-models/models"),
        ({"cluster_endpoint": "http://[fd00::1]:2"}, {}, "s3://http://[fd00::1]:2/fleet-models/models"),
        ({}, {"AWS_ENDPOINT_URL_S3": "http://store:9000"}, "s3://http://store:9000/fleet-models/models"),
        ({"cluster_endpoint": "http://b:2"}, {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "s3://http://b:2/fleet-models/models"),
    ],
)
def test_address_for_pods(fields: dict[str, Any], environ: dict[str, str], url: str) -> None:
    assert store_url(settings(**fields), environ) == url


def test_loopback_is_no_address_for_pods() -> None:
    with pytest.raises(FleetError, match=r"triton-fleet:repository\.clusterEndpoint is missing: uploads go to http://127\.0\.0\.1:7070"):
        store_url(settings(), {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:7070"})


async def test_digest_and_url_are_known_before_anything_is_sent(recorder: Recorder) -> None:
    """So that a preview shows which pods would roll."""
    await declare(recorder)
    sent = deserialize_properties(recorder.requests["models"].object)
    digest = scan(MODELS, ["add_sub"]).digest
    assert sent["digest"] == digest
    assert sent["url"] == "s3://fleet-models/models"
    assert sent["mode"] == "release"
    assert sent["display"].endswith("$triton-fleet:repository:ModelRepository$pulumi-python:dynamic/repository:Release::models")
    assert sent["source"] == "models"
    assert "endpoint" not in sent


async def test_handle(recorder: Recorder) -> None:
    repository = await declare(recorder)
    assert repository.handle.models == ("add_sub",)
    assert repository.handle.credentials is None
    plan = scan(MODELS, ["add_sub"])
    tree = f"add_sub-{plan.models['add_sub'][:16]}"
    assert await repository.handle.url.future() == "s3://fleet-models/models"
    assert await repository.handle.urls["add_sub"].future() == f"s3://fleet-models/models/models/{tree}"
    assert await repository.handle.digest.future() == plan.digest
    assert repository.handle.sizes == {"add_sub": sum(file.size for file in plan.files)}
    urns = {getattr(resource, "_name", None) for resource in await repository.handle.url.resources()}
    assert urns == {"models"}


@pytest.mark.parametrize("mode", ["poll", "explicit"])
async def test_a_stable_place_does_not_roll_pods(recorder: Recorder, mode: str) -> None:
    handle = (await declare(recorder, mode=mode)).handle
    assert handle.urls == {}
    assert await handle.digest.future() == ""
    url = await handle.url.future()
    assert url is not None
    assert url.startswith("s3://fleet-models/models/live/")


async def test_a_bucket_of_its_own_comes_first(recorder: Recorder) -> None:
    await declare(recorder, create_bucket=True)
    assert recorder.of_type("pulumi-python:dynamic/repository:Bucket") == set()  # replaced in this index by its namesake
    dependencies = recorder.requests["models"].dependencies
    assert [urn.split("::")[-2].split("$")[-1] for urn in dependencies] == ["pulumi-python:dynamic/repository:Bucket"]


async def test_credentials_of_the_environment_are_a_secret(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    credentials = (await declare(recorder, credentials="environment")).handle.credentials
    assert credentials is not None
    assert await credentials.is_secret()
    assert await credentials.future() == {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hush"}


async def test_temporary_credentials_are_passed_on_with_a_warning(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(pulumi.log, "warn", said.append)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, name.lower())
    credentials = (await declare(recorder, credentials="environment")).handle.credentials
    assert credentials is not None
    known = await credentials.future()
    assert known is not None
    assert known["AWS_SESSION_TOKEN"] == "aws_session_token"
    assert "temporary" in said[0]


async def test_no_credentials_to_be_found(recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(FleetError, match=r"triton-fleet:repository\.credentials is environment, and the AWS default chain finds no keys"):
        await declare(recorder, credentials="environment")
    assert set(recorder.requests) == {"triton-fleet-test"}
