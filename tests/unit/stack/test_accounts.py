"""The bucket is reached as the cluster is: same account, region and project."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from components.base.errors import FleetError
from components.repository.resource import _find_keys, check_environment, custom_endpoint
from components.repository.settings import RepositorySettings
from components.repository.store import gcs
from components.repository.store.s3 import S3Store
from components.repository.store.select import open_store, place_of
from components.stack.load import parse

if TYPE_CHECKING:
    from pathlib import Path

ENDPOINT = {"publicCidrs": ["203.0.113.0/24"]}
EKS = {"provider": "eks", "region": "eu-west-1", "endpoint": ENDPOINT}
GKE = {"provider": "gke", "region": "europe-west4", "project": "my-project", "endpoint": ENDPOINT}
COMPATIBLE = {"endpoint": "https://store.example.com", "credentials": "environment"}


def place(cluster: dict[str, Any], repository: dict[str, Any]) -> dict[str, str]:
    serving = [{"name": "t", "image": "registry.example/tritonserver:26.07-py3", "resources": {"gpus": 0, "cpu": 1, "memory": "2Gi"}}]
    settings = parse({"cluster": cluster, "repository": {"bucket": "models-of-mine", **repository}, "serving": serving})
    return {name: value for name, value in place_of(settings.repository).items() if name not in {"bucket", "store", "endpoint"}}


@pytest.mark.parametrize(
    ("cluster", "repository", "found"),
    [
        (EKS, {}, {"region": "eu-west-1"}),
        ({**EKS, "profile": "work"}, {}, {"region": "eu-west-1", "profile": "work"}),
        ({**EKS, "profile": "work"}, {"profile": "work", "region": "us-west-2"}, {"region": "us-west-2", "profile": "work"}),
        ({**EKS, "profile": "work"}, COMPATIBLE, {"region": "us-east-1"}),
        ({"provider": "existing"}, {"region": "eu-west-1", "profile": "work"}, {"region": "eu-west-1", "profile": "work"}),
        ({"provider": "existing"}, COMPATIBLE, {"region": "us-east-1"}),
        (GKE, {"store": "gcs"}, {"region": "us-east-1", "project": "my-project"}),
        (GKE, {"store": "gcs", "project": "other-project"}, {"region": "us-east-1", "project": "other-project"}),
    ],
)
def test_where_the_bucket_is_and_who_reaches_it(cluster: dict[str, Any], repository: dict[str, Any], found: dict[str, str]) -> None:
    assert place(cluster, repository) == found


def test_another_profile_than_the_clusters_is_rejected() -> None:
    with pytest.raises(FleetError, match=r"repository\.profile \(home\) is not cluster\.profile \(work\): uploads could land in another"):
        place({**EKS, "profile": "work"}, {"profile": "home"})
    with pytest.raises(FleetError, match=r"repository\.profile \(home\) has no effect: only store: s3 has one"):
        place(GKE, {"store": "gcs", "profile": "home"})


def test_a_region_that_nothing_names_is_required() -> None:
    settings = RepositorySettings(bucket="models-of-mine")
    with pytest.raises(FleetError, match=r"repository\.region is missing"):
        check_environment(settings, {})
    check_environment(settings.model_copy(update={"cluster_endpoint": "http://10.0.0.1:7070"}), {})
    check_environment(settings.model_copy(update={"region": "eu-west-1"}), {})


def test_uploads_and_keys_use_the_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "credentials").write_text("[work]\naws_access_key_id = worker\naws_secret_access_key = secret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another account's")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    settings = RepositorySettings(bucket="models-of-mine", region="eu-west-1", profile="work")
    assert _find_keys(settings)["AWS_ACCESS_KEY_ID"] == "worker"
    store = open_store(place_of(settings))
    assert isinstance(store, S3Store)
    found = store._session.get_credentials()
    assert found is not None
    assert found.access_key == "worker"
    with pytest.raises(FleetError, match=r"no usable AWS credentials .*\(The config profile \(home\) could not be found\)"):
        open_store(place_of(settings.model_copy(update={"profile": "home"})))


@pytest.mark.parametrize("name", ["GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON"])
@pytest.mark.parametrize("impersonated", [False, True])
def test_google_credentials_are_those_of_pulumis_provider(name: str, impersonated: bool, tmp_path: Path) -> None:
    key = {"type": "authorized_user", "client_id": "me", "client_secret": "hush", "refresh_token": "token"}
    (tmp_path / "key.json").write_text(json.dumps(key))
    target = {"GOOGLE_IMPERSONATE_SERVICE_ACCOUNT": "deployer@my-project.iam.gserviceaccount.com"} if impersonated else {}
    for text in (json.dumps(key), str(tmp_path / "key.json")):
        found = gcs._credentials({name: text, **target})
        assert (found._source_credentials if impersonated else found).client_id == "me"
        first = gcs._credentials({name: text, "GOOGLE_OAUTH_ACCESS_TOKEN": "first", **target})
        assert (first._source_credentials if impersonated else first).token == "first"
    assert gcs._credentials({"GOOGLE_APPLICATION_CREDENTIALS": "elsewhere"}) is None


PROFILES = """
[default]
endpoint_url = http://default.example:1
[profile plain]
region = eu-west-1
[profile all]
endpoint_url = http://all.example:2
[profile service]
endpoint_url = http://all.example:2
services = mine
[profile other]
services = others
[services mine]
s3 =
  endpoint_url = http://s3.example:3
[services others]
sts =
  endpoint_url = http://sts.example:4
"""
AWS = "https://s3.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("profile", "environment", "endpoint"),
    [
        (None, {}, "http://default.example:1"),
        ("plain", {}, None),
        ("all", {}, "http://all.example:2"),
        ("service", {}, "http://s3.example:3"),
        ("other", {}, None),
        (None, {"AWS_PROFILE": "all"}, "http://all.example:2"),
        ("all", {"AWS_ENDPOINT_URL": "http://variable.example:5"}, "http://variable.example:5"),
        ("service", {"AWS_ENDPOINT_URL_S3": "http://s3-variable.example:6"}, "http://s3-variable.example:6"),
        ("all", {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}, None),
        ("all", {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true", "AWS_ENDPOINT_URL_S3": "http://s3-variable.example:6"}, None),
    ],
)
def test_uploads_go_where_boto3_goes(
    profile: str | None, environment: dict[str, str], endpoint: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config").write_text(PROFILES, encoding="utf-8")
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"):
        monkeypatch.delenv(name, raising=False)
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    for name, value in {**keys, "AWS_CONFIG_FILE": str(tmp_path / "config"), "HOME": str(tmp_path), **environment}.items():
        monkeypatch.setenv(name, value)
    store = open_store({"bucket": "models", "region": "eu-west-1", "profile": profile})
    assert isinstance(store, S3Store)
    assert boto3.session.Session(profile_name=profile).client("s3", region_name="eu-west-1").meta.endpoint_url == (endpoint or AWS)
    assert store.client.meta.endpoint_url == (endpoint or AWS)
    assert store.describe() == (endpoint or "AWS in eu-west-1")
    settings = RepositorySettings(bucket="models", region="eu-west-1", profile=profile)
    assert custom_endpoint(settings, os.environ) == endpoint
