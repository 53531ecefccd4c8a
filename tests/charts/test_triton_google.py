"""charts/triton: what the walk-throughs on GKE set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from components.serving.metrics.base import GkeCluster
from components.serving.values import ModelRepositoryValues, chart_values
from tests.charts.rendering import Chart, serving
from tests.charts.shapes import Container, Deployment, EnvVar, Hpa, InitContainer

if TYPE_CHECKING:
    from components.serving.settings import ServingSettings

pytestmark = pytest.mark.helm


def google(settings: ServingSettings) -> dict[str, Any]:
    repository = ModelRepositoryValues(url="gs://bucket/models", release="a" * 64, key_file_secret="gcsfs-creds-1")
    return chart_values(settings, repository, gke=GkeCluster(name="tri", location="europe-west4")).dump()


@pytest.mark.parametrize("prefetch", [False, True])
def test_a_key_file_is_mounted_where_the_walk_through_has_it(chart: Chart, prefetch: bool) -> None:
    deployment = chart.render(google(serving(prefetch=prefetch)))[Deployment]
    (volume,) = (volume for volume in deployment.pod.volumes if volume.secret is not None)
    assert volume.secret is not None
    assert (volume.name, volume.secret.secret_name) == ("gcsfs-creds", "gcsfs-creds-1")
    assert [(item.key, item.path) for item in volume.secret.items] == [("keyfile.json", "keyfile.json")]
    assert oct(volume.secret.default_mode) == "0o440", "the server's group may read it, which is fsGroup"
    containers: list[Container | InitContainer] = [deployment.triton, *deployment.pod.init_containers]
    for container in containers:
        (mount,) = (mount for mount in container.volume_mounts if mount.name == "gcsfs-creds")
        assert (mount.mount_path, mount.read_only) == ("/etc/secrets", True)
        assert EnvVar(name="GOOGLE_APPLICATION_CREDENTIALS", value="/etc/secrets/keyfile.json") in container.env
    assert len(deployment.pod.init_containers) == prefetch


def test_without_a_key_file_nothing_of_it_is_there(chart: Chart) -> None:
    deployment = chart.settings()[Deployment]
    assert not any(volume.secret for volume in deployment.pod.volumes)
    assert not any(variable.name == "GOOGLE_APPLICATION_CREDENTIALS" for variable in deployment.triton.env)


def test_the_duty_cycle_reaches_the_autoscaler(chart: Chart) -> None:
    metrics = [{"kind": "queueTime", "target": "50ms"}, {"kind": "gpuDutyCycle", "target": 85}]
    hpa = chart.render(google(serving(scaling={"metrics": metrics})))[Hpa]
    pods, external = hpa.spec.metrics
    assert pods["type"] == "Pods"
    assert external["external"]["metric"]["name"] == "kubernetes.io|container|accelerator|duty_cycle"
    assert external["external"]["metric"]["selector"]["matchLabels"]["resource.labels.container_name"] == "bert"
    assert external["external"]["target"] == {"type": "AverageValue", "averageValue": "85"}
