"""charts/triton used by plain Helm: what may be left out, what is refused."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.charts.shapes import KINDS, Capabilities, Container, ContainerSecurity, Deployment, EmptyDir, InitContainer, RollingUpdate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.charts.rendering import Chart

pytestmark = pytest.mark.helm


def test_plain_helm_needs_only_a_repository(chart: Chart) -> None:
    plain = chart.render({}, "--set", "modelRepository.url=gs://bucket/models")
    assert set(plain.objects) == set(KINDS)
    assert plain[Deployment].metadata.labels["app.kubernetes.io/managed-by"] == "Helm"


def test_plain_helm_can_leave_out_what_a_cluster_lacks(chart: Chart) -> None:
    off = [
        "autoscaling.enabled=false",
        "podMonitor.enabled=false",
        "disruption.enabled=false",
        "serviceAccount.create=false",
        "networkPolicy.enabled=false",
        "admin.keySecret=mine",
    ]
    bare = chart.render({"modelRepository": {"url": "/models"}, "autoscaling": {"minReplicas": 3}}, "--set", ",".join(off))
    assert set(bare.objects) == {"Deployment", "Service"}
    assert bare[Deployment].spec.replicas == 3
    assert bare[Deployment].pod.service_account_name == "default"


def test_the_rest_of_the_pod_is_open_to_plain_helm(chart: Chart) -> None:
    pod = {
        "podAnnotations": {"sidecar.istio.io/inject": "true"},
        "podLabels": {"team": "speech", "app.kubernetes.io/instance": "not-this"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "runtimeClassName": "nvidia",
    }
    deployment = chart.render({"modelRepository": {"url": "/models"}, **pod, "resources": {"tmp": "20Gi"}})[Deployment]
    assert deployment.spec.template.metadata.labels["team"] == "speech"
    assert deployment.spec.template.metadata.labels["app.kubernetes.io/instance"] == "bert", "a selector's label can't be taken away"
    assert deployment.spec.template.metadata.annotations["sidecar.istio.io/inject"] == "true"
    assert [toleration.key for toleration in deployment.pod.tolerations] == ["nvidia.com/gpu", "spot"]
    assert (deployment.pod.priority_class_name, deployment.pod.runtime_class_name) == ("high", "nvidia")
    assert EmptyDir(size_limit="20Gi") in [volume.empty_dir for volume in deployment.pod.volumes]


def test_a_startup_probe_of_ones_own(chart: Chart) -> None:
    startup = {"periodSeconds": 10, "timeoutSeconds": 3, "failureThreshold": 60}
    probe = chart.render({"modelRepository": {"url": "/models"}, "probes": {"startup": startup}})[Deployment].triton.startup_probe
    assert (probe.period_seconds, probe.timeout_seconds, probe.failure_threshold) == (10, 3, 60)


def test_a_rollout_on_a_full_pool_replaces_a_pod_in_place(chart: Chart) -> None:
    values = {"modelRepository": {"url": "/models"}, "rollout": {"maxSurge": 0, "maxUnavailable": 1}}
    assert chart.render(values)[Deployment].spec.strategy.rolling_update == RollingUpdate(max_surge=0, max_unavailable=1)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"replicas": 3}, "additional properties 'replicas' not allowed"),
        ({"resources": {"gpu": 1}}, "additional properties 'gpu' not allowed"),
        ({"resources": {"gpus": -1}}, "minimum"),
        ({"imagePullPolicy": "Sometimes"}, "imagePullPolicy"),
        ({"autoscaling": {"metrics": [{"type": "Pods", "pods": {"metric": {"nam": "x"}}}]}}, "autoscaling/metrics/0"),
        ({"autoscaling": {"minReplicas": 5}}, r"minReplicas \(5\) is above autoscaling.maxReplicas \(4\)"),
        ({"modelRepository": {"url": ""}}, "modelRepository.url is not set"),
        ({"service": {"httpNodePort": 80}}, "httpNodePort"),
        ({"rollout": {"maxSurge": 0}}, "rollout.maxSurge and rollout.maxUnavailable are both 0"),
    ],
)
def test_wrong_values_are_refused_by_name(chart: Chart, wrong: dict[str, Any], says: str) -> None:
    base = {"modelRepository": {"url": "s3://bucket/models"}}
    done = chart.template({**base, **wrong})
    assert done.returncode != 0
    assert re.search(says, done.stderr), done.stderr


def test_a_release_as_a_part_of_another_chart_gets_helms_globals(chart: Chart) -> None:
    chart.render({"modelRepository": {"url": "/models"}, "global": {"imageRegistry": "x"}})


def test_the_chart_passes_helm_lint(chart: Chart) -> None:
    done = subprocess.run(
        [chart.helm, "lint", "--strict", chart.path, "--set", "modelRepository.url=s3://bucket/models"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_check_that_is_skipped_has_a_reason(chart: Chart, project: Path) -> None:
    """checkov's configuration: a comment above each check, and the check's name in the docs."""
    text = (chart.path / ".checkov.yaml").read_text()
    skipped = yaml.safe_load(text)["skip-check"]
    explained = re.findall(r"(?:  # .+\n)+  - (\w+)\n", text)
    assert skipped == explained
    assert len(skipped) == len(set(skipped)) <= 5
    docs = (project / "docs" / "security.md").read_text()
    assert [check for check in skipped if f"`{check}`" not in docs] == []


def test_what_is_not_skipped_holds_for_every_container(chart: Chart) -> None:
    values = {
        "modelRepository": {"url": "gs://bucket/models", "release": "5a" * 32, "keyFileSecret": "key"},
        "prefetch": {"enabled": True},
        "serviceAccount": {"waitForToken": True},
    }
    pod = chart.render(values)[Deployment].pod
    containers: list[Container | InitContainer] = [*pod.init_containers, *pod.containers]
    assert [container.name for container in containers] == ["identity", "prefetch", "bert"]
    assert pod.security_context.run_as_non_root
    assert pod.security_context.seccomp_profile.type == "RuntimeDefault"
    assert not pod.automount_service_account_token
    for container in containers:
        assert container.security_context == ContainerSecurity(
            allow_privilege_escalation=False, read_only_root_filesystem=True, capabilities=Capabilities(drop=["ALL"])
        )
        assert {"cpu", "memory"} <= container.resources.requests.keys()
        assert "memory" in container.resources.limits
