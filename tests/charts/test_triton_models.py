"""charts/triton: where models come from, read in place or copied first."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from components.serving.metrics.base import GkeCluster
from components.serving.values import ModelRepositoryValues, chart_values, rollout_deadline
from tests.charts.rendering import FIRST, Chart, serving
from tests.charts.shapes import Deployment, EmptyDir, EnvVar

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.helm


RELEASE = "5a" * 32
BASE = "s3://http://10.0.0.1:7070/bucket/prefix"


def prefetching(url: str = BASE, *, sizes: dict[str, int] | None = None, **fields: Any) -> dict[str, Any]:
    """Values of a deployment that copies its models first."""
    return chart_values(
        serving(**{"prefetch": True, **fields}),
        ModelRepositoryValues(
            url=url, urls=(f"{url}/models/a-0123456789abcdef",), release=RELEASE, region="eu-west-1", credentials_secret=FIRST
        ),
        sizes={"a": 10 << 20, "b": 20 << 20, "c": 1 << 30} if sizes is None else sizes,
        needs={"b": ("a",)},
    ).dump()


def test_one_repository_a_model(chart: Chart) -> None:
    urls = (f"{BASE}/models/a-1", f"{BASE}/models/b-2")
    repository = ModelRepositoryValues(url=BASE, urls=urls, release=RELEASE, region="eu-west-1")
    triton = chart.render(chart_values(serving(models=["a"]), repository).dump())[Deployment].triton
    assert [argument for argument in triton.args if argument.startswith("--model")] == [
        f"--model-repository={BASE}/models/a-1",
        f"--model-repository={BASE}/models/b-2",
        "--model-control-mode=none",
    ]
    assert EnvVar(name="AWS_REGION", value="eu-west-1") in triton.env


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ({"mode": "poll"}, ["--model-control-mode=poll", "--repository-poll-secs=15"]),
        ({"mode": "explicit"}, ["--model-control-mode=explicit", "--load-model=*"]),
        ({"mode": "explicit", "models": ["a"]}, ["--model-control-mode=explicit", "--load-model=a"]),
    ],
)
def test_modes(chart: Chart, values: dict[str, Any], flags: list[str]) -> None:
    triton = chart.render({"modelRepository": {"url": BASE, **values}})[Deployment].triton
    assert triton.args[1:4][: 1 + len(flags)] == [f"--model-repository={BASE}", *flags]


def of_gke(url: str = "gs://bucket/models", *, key: str = "", **fields: Any) -> dict[str, Any]:
    """Values of a deployment on GKE."""
    return chart_values(
        serving(**fields),
        ModelRepositoryValues(url=url, release=RELEASE, key_file_secret=key),
        gke=GkeCluster(name="fleet", location="us-central1"),
        sizes={"a": 1, "b": 1, "c": 1},
    ).dump()


def test_a_pod_on_gke_has_its_identity_before_anything_reads_models(chart: Chart) -> None:
    waiting, copying = chart.render(of_gke(prefetch=True))[Deployment].pod.init_containers
    assert (waiting.name, copying.name) == ("identity", "prefetch")
    triton = chart.render(of_gke())[Deployment].triton
    assert waiting.image == triton.image, "nothing more to pull"
    assert waiting.security_context == triton.security_context
    assert "Metadata-Flavor: Google" in waiting.command[-1]
    assert "nvidia.com/gpu" not in waiting.resources.limits


@pytest.mark.parametrize("values", [of_gke(key="gcsfs-creds-1"), of_gke(url=BASE)], ids=["with a key file", "with another cloud's store"])
def test_who_has_keys_waits_for_none(chart: Chart, values: dict[str, Any]) -> None:
    assert chart.render(values)[Deployment].pod.init_containers == []


def test_models_are_copied_first_to_a_volume_that_the_server_only_reads(chart: Chart) -> None:
    deployment = chart.render(prefetching())[Deployment]
    prefetch, triton = deployment.prefetch, deployment.triton
    assert triton.flag("model-repository") == "/models/release"
    (server,) = (mount for mount in triton.volume_mounts if mount.mount_path == "/models")
    (copier,) = (mount for mount in prefetch.volume_mounts if mount.mount_path == "/models")
    assert server.name == copier.name
    assert server.read_only
    assert not copier.read_only
    assert prefetch.variable("VOLUME") == "/models"
    assert prefetch.variable("RELEASE") == RELEASE == deployment.spec.template.metadata.annotations["triton-fleet/model-release"]
    assert prefetch.env_from == triton.env_from
    assert prefetch.security_context == triton.security_context
    assert prefetch.termination_message_policy == "FallbackToLogsOnError"


def test_the_script_reaches_the_shell_as_it_is(chart: Chart, project: Path) -> None:
    prefetch = chart.render(prefetching())[Deployment].prefetch
    script = (project / "charts" / "triton" / "files" / "prefetch.sh").read_text()
    assert prefetch.command[:2] == ["/bin/sh", "-c"]
    assert prefetch.command[2].strip() == script.strip()
    # The kubelet replaces $(NAME) where NAME is a variable of the container, and makes $$ one dollar.
    assert "$$" not in script
    assert not {entry.name for entry in prefetch.env} & set(re.findall(r"\$\(([A-Za-z_]+)\)", script))


@pytest.mark.parametrize(
    ("url", "base", "endpoint", "provider"),
    [
        (BASE, ":s3:bucket/prefix", "http://10.0.0.1:7070", "Other"),
        ("s3://https://store.example:443/bucket/a/b", ":s3:bucket/a/b", "https://store.example:443", "Other"),
        ("s3://store.example:9000/bucket/prefix/", ":s3:bucket/prefix", "http://store.example:9000", "Other"),
        ("s3://https://[fd00::1]:9000/bucket/prefix", ":s3:bucket/prefix", "https://[fd00::1]:9000", "Other"),
        ("s3://bucket/prefix", ":s3:bucket/prefix", None, "AWS"),
        ("gs://bucket/prefix", ":gcs:bucket/prefix", None, None),
    ],
)
def test_every_form_of_tritons_urls_is_understood(chart: Chart, url: str, base: str, endpoint: str | None, provider: str | None) -> None:
    prefetch = chart.render(prefetching(url))[Deployment].prefetch
    assert prefetch.variable("BASE") == base
    assert prefetch.variable("RCLONE_S3_ENDPOINT") == endpoint
    assert prefetch.variable("RCLONE_S3_PROVIDER") == provider
    kind = "GCS" if url.startswith("gs://") else "S3"
    assert prefetch.variable(f"RCLONE_{kind}_ENV_AUTH") == "true"
    assert prefetch.variable("RCLONE_S3_REGION") == ("eu-west-1" if kind == "S3" else None)


@pytest.mark.parametrize(
    ("fields", "models", "size"),
    [
        ({}, "", "1224Mi"),
        ({"models": ["a"]}, "a", "75Mi"),
        ({"models": ["b"]}, "a b", "97Mi"),  # an ensemble, and what it is made of
        ({"models": ["a"], "prefetch": {"enabled": True, "volume": {"size": "2Gi"}}}, "a", "2Gi"),
    ],
)
def test_the_volume_holds_what_is_copied(chart: Chart, fields: dict[str, Any], models: str, size: str) -> None:
    deployment = chart.render(prefetching(**fields))[Deployment]
    (volume,) = (volume for volume in deployment.pod.volumes if volume.name == "models")
    assert deployment.prefetch.variable("MODELS") == models
    assert volume.empty_dir == EmptyDir(size_limit=size)
    assert deployment.prefetch.resources.requests["ephemeral-storage"] == size, "so that the pod goes where there is room"


def test_a_volume_of_a_storage_class(chart: Chart) -> None:
    deployment = chart.render(prefetching(prefetch={"enabled": True, "volume": {"storageClass": "gp3", "size": "20Gi"}}))[Deployment]
    (volume,) = (volume for volume in deployment.pod.volumes if volume.name == "models")
    assert volume.empty_dir is None
    assert volume.ephemeral == {
        "volumeClaimTemplate": {
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "gp3", "resources": {"requests": {"storage": "20Gi"}}}
        }
    }
    assert "ephemeral-storage" not in deployment.prefetch.resources.requests


def test_the_rollout_waits_for_the_copy(chart: Chart) -> None:
    settings = serving(prefetch={"enabled": True, "budget": "20m"}, startupBudget="5m")
    deployment = chart.render(prefetching(prefetch={"enabled": True, "budget": "20m"}, startupBudget="5m"))[Deployment]
    assert deployment.spec.progress_deadline_seconds == rollout_deadline(settings) == 300 + 600 + 1200
    assert int(deployment.metadata.annotations["pulumi.com/timeoutSeconds"]) >= deployment.spec.progress_deadline_seconds


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"modelRepository": {"url": BASE, "urls": [BASE]}}, "are both set"),
        ({"modelRepository": {"url": BASE, "mode": "poll", "models": ["a"]}}, "Triton would load every model"),
        ({"modelRepository": {"url": BASE, "mode": "poll", "release": RELEASE}, "prefetch": {"enabled": True}}, "would never change"),
        ({"modelRepository": {"url": BASE, "release": "abc"}, "prefetch": {"enabled": True}}, "must be a SHA-256 in hex"),
        ({"modelRepository": {"urls": [BASE], "release": RELEASE}, "prefetch": {"enabled": True}}, "would have no source"),
        ({"modelRepository": {"url": "/models", "release": RELEASE}, "prefetch": {"enabled": True}}, "neither s3:// nor gs://"),
        (
            {"modelRepository": {"url": BASE, "release": RELEASE}, "prefetch": {"enabled": True, "volume": {"storageClass": "gp3"}}},
            "prefetch.volume.size is not set",
        ),
    ],
)
def test_what_goes_wrong_with_the_source_of_models_is_said_before_it_is_applied(chart: Chart, values: dict[str, Any], said: str) -> None:
    done = chart.template(values)
    assert done.returncode != 0
    assert said in done.stderr
