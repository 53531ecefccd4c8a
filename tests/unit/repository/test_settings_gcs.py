"""What `repository.store: gcs` takes and what it refuses, through the loader: keys as the stack file spells them."""

from __future__ import annotations

from typing import Any

import pytest

from components.base.errors import FleetError
from components.repository.resource import store_url
from components.repository.store.select import place_of
from components.stack.load import parse

KEY = "projects/p/locations/europe-west4/keyRings/ring/cryptoKeys/key"
GOOD: dict[str, Any] = {"store": "gcs", "bucket": "fleet_models", "project": "my-project"}


def settings(**repository: Any) -> Any:
    return parse({"repository": repository, "serving": [{"image": "x:1"}]})


@pytest.mark.parametrize("bucket", ["abc", "a_b", "models.example.com", "0-0", "a" * 63, f"{'a' * 60}.{'b' * 60}.example", "my-bucket-1"])
def test_names_that_google_takes(bucket: str) -> None:
    assert settings(store="gcs", bucket=bucket).repository.bucket == bucket


@pytest.mark.parametrize(
    "bucket",
    ["ab", "A-b", "-ab", "ab-", "goog-models", "my-google-models", "g00gle1", "a" * 64, "a..b", "10.0.0.1", f"{'a' * 64}.example", "a b"],
)
def test_names_that_google_refuses(bucket: str) -> None:
    with pytest.raises(
        FleetError, match=r"triton-fleet:repository\.bucket \(.*\) is not a valid bucket name: Google Cloud Storage would refuse it"
    ):
        settings(store="gcs", bucket=bucket)


def test_s3_keeps_its_own_rules() -> None:
    with pytest.raises(FleetError, match=r"repository\.bucket \(fleet_models\) is not a valid bucket name: S3 would refuse it"):
        settings(bucket="fleet_models")


def test_where_triton_and_uploads_look() -> None:
    made = settings(**GOOD, prefix="a/b", createBucket=True, location="europe-west4", kmsKey=KEY).repository
    assert store_url(made, {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:17070"}) == "gs://fleet_models/a/b"
    assert place_of(made) == {
        "store": "gcs", "bucket": "fleet_models", "region": "us-east-1", "project": "my-project", "location": "europe-west4",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"endpoint": "https://store.example"},
            r"repository\.endpoint \(https://store.example\) has no effect on Triton.*STORAGE_EMULATOR_HOST",
        ),
        ({"clusterEndpoint": "https://store.example"}, r"repository\.clusterEndpoint .* has no effect on Triton"),
        ({"credentials": "environment"}, r"repository\.credentials is environment with store: gcs.*serviceAccount"),
        ({"createBucket": True}, r"repository\.location is missing.*Set it to the cluster's region"),
        ({"kmsKey": KEY}, r"repository\.kmsKey .* has no effect.*createBucket: true"),
        (
            {"createBucket": True, "location": "EU", "kmsKey": "arn:aws:kms:x"},
            r"repository\.kmsKey \(arn:aws:kms:x\) is not a Cloud KMS key",
        ),
        ({"store": "s3", "bucket": "abc"}, r"repository\.project \(my-project\) has no effect: only store: gcs has one"),
    ],
)
def test_what_does_not_go_together(more: dict[str, Any], said: str) -> None:
    with pytest.raises(FleetError, match=said):
        settings(**{**GOOD, **more})


@pytest.mark.parametrize("mode", ["poll", "explicit"])
def test_a_copy_and_a_changing_place_do_not_go_together(mode: str) -> None:
    with pytest.raises(
        FleetError, match=rf"serving\[0\]\.prefetch is on with repository\.mode {mode}: Triton would read a copy that never changes"
    ):
        parse({"repository": {"bucket": "abc", "mode": mode}, "serving": [{"image": "x:1", "prefetch": True}]})


def test_polling_serves_all() -> None:
    with pytest.raises(FleetError, match=r"serving\[0\]\.models names models with repository\.mode poll"):
        parse({"repository": {"bucket": "abc", "mode": "poll"}, "serving": [{"image": "x:1", "models": ["a"]}]})
