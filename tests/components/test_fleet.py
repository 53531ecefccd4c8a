"""The whole fleet under the SDK's mocks: what a stack consists of, what waits for what, and that nothing is registered after a refusal."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pytest
import yaml
from pulumi.runtime.stack import wait_for_rpcs

from components.base.errors import FleetError
from components.fleet import TritonFleet, TritonFleetArgs
from components.stack.load import parse
from tests.components.conftest import Mocks
from tests.components.recording import Monitor, start

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
async def monitor(surroundings: None) -> Monitor:
    return start(Mocks())


def dev() -> dict[str, Any]:
    """The dev stack's file, which charts and models of this checkout go with."""
    config = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))["config"]
    return copy.deepcopy({key.removeprefix("triton-fleet:"): value for key, value in config.items()})


async def build(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Run the fleet to the end; its exports, resolved."""
    try:
        fleet = TritonFleet("fleet", TritonFleetArgs(settings=parse(raw), project_dir=ROOT))
        exports: dict[str, Any] = await pulumi.Output.from_input(fleet.exports).future()  # type: ignore[assignment]
        return exports
    finally:
        await wait_for_rpcs()  # those of a refused program too: the stack's own would be left to the next test


def inputs(monitor: Monitor, key: str) -> dict[str, Any]:
    return monitor.inputs(*key.split(" ", 1))


SNAPSHOT = """
kubernetes:core/v1:Namespace dcgm
kubernetes:core/v1:Namespace monitoring
kubernetes:core/v1:Namespace triton
kubernetes:core/v1:Secret triton-admin-key
kubernetes:core/v1:Secret triton-credentials
kubernetes:helm.sh/v3:Release dcgm-exporter
kubernetes:helm.sh/v3:Release kps
kubernetes:helm.sh/v3:Release prometheus-adapter
kubernetes:helm.sh/v4:Chart triton
pulumi-python:dynamic/repository:Release repository
pulumi:providers:kubernetes cluster
triton-fleet:addons:DcgmExporter dcgm
triton-fleet:addons:PrometheusAdapter adapter
triton-fleet:addons:PrometheusStack prometheus
triton-fleet:cluster:ExistingCluster cluster
triton-fleet:fleet:TritonFleet fleet
triton-fleet:repository:ModelRepository repository
triton-fleet:serving:Triton triton
"""
"""Type tokens and logical names of the dev stack. They are an interface: a change here replaces resources of stacks that exist unless it
comes with an alias and a line in docs/upgrading.md."""


async def test_the_dev_stack_consists_of(monitor: Monitor) -> None:
    await build(dev())
    assert sorted(monitor.requests) == SNAPSHOT.split("\n")[1:-1]


async def test_everything_has_its_place_in_the_tree(monitor: Monitor) -> None:
    await build(dev())
    for key, request in monitor.requests.items():
        if not key.startswith("triton-fleet:fleet:"):
            assert "triton-fleet:fleet:TritonFleet" in request.parent, key


async def test_every_kubernetes_object_goes_through_the_fleets_provider(monitor: Monitor) -> None:
    await build(dev())
    objects = {key: request for key, request in monitor.requests.items() if key.startswith("kubernetes:")}
    assert objects
    for key, request in objects.items():
        provider = request.provider or request.providers.get("kubernetes", "")
        assert "pulumi:providers:kubernetes::cluster" in provider, key


async def test_exports(monitor: Monitor) -> None:
    exports = await build(dev())
    assert len(exports["repository"]["digest"]) == 64
    assert exports["cluster"] == "kind-x"
    assert exports["prometheus"] == "http://kps-prometheus.monitoring.svc:9090"
    assert exports["repository"]["url"] == "s3://http://10.111.0.1:7070/models/releases"
    assert exports["serving"] == {"triton": {"namespace": "triton", "service": "triton.triton.svc.cluster.local"}}


async def test_no_credential_and_no_path_of_this_machine_goes_into_the_state(monitor: Monitor, tmp_path: Path) -> None:
    await build(dev())
    provider = inputs(monitor, "pulumi:providers:kubernetes cluster")
    assert provider == {"kubeconfig": "", "context": "kind-x", "enableServerSideApply": "true"}
    for key, request in monitor.requests.items():
        assert str(tmp_path) not in str(request.object), key
        assert str(ROOT) not in str(request.object), key
        if "Secret" not in key:
            assert "hush" not in str(request.object), key


async def test_without_dcgm(monitor: Monitor) -> None:
    await build({**dev(), "dcgm": {"enabled": False}})
    assert not [key for key in monitor.requests if "dcgm" in key]


async def test_several_deployments_share_what_is_there_once(monitor: Monitor) -> None:
    raw = dev()
    raw["serving"].append({"name": "second", "image": "x:1", "models": ["add_sub"], "resources": {"gpus": 0}})
    exports = await build(raw)
    assert set(exports["serving"]) == {"triton", "second"}
    added = set(monitor.requests) - set(SNAPSHOT.split("\n"))
    assert added == {
        "triton-fleet:serving:Triton second",
        "kubernetes:helm.sh/v4:Chart second",
        "kubernetes:core/v1:Secret second-admin-key",
        "kubernetes:core/v1:Secret second-credentials",
    }


async def test_all_problems_of_models_and_cluster_at_once_and_nothing_is_registered(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    raw = dev()
    raw["repository"]["models"] = ["add_sub", "nope"]
    with pytest.raises(
        FleetError, match=r"(?s)^2 problems:.*triton-fleet:cluster\.kubeconfig .*triton-fleet:repository\.models names nope"
    ):
        await build(raw)
    assert monitor.requests == {}


async def test_a_dead_cluster_stops_it_before_anything_is_registered(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dead = yaml.safe_load((tmp_path / "kubeconfig").read_text(encoding="utf-8"))
    dead["users"][0]["user"] = {}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(dead), encoding="utf-8")
    with pytest.raises(FleetError, match=r"triton-fleet:cluster\.kubeconfig \(context kind-x, .* does not answer .* nothing was created"):
        await build(dev())
    assert monitor.requests == {}


async def test_a_store_that_pods_cannot_reach_is_told_with_the_rest(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:7070")
    raw = dev()
    del raw["repository"]["clusterEndpoint"]
    with pytest.raises(FleetError, match=r"triton-fleet:repository\.clusterEndpoint is missing"):
        await build(raw)
    assert monitor.requests == {}


async def test_models_of_a_deployment_are_looked_for_in_the_folder_where_the_settings_name_none(monitor: Monitor) -> None:
    raw = dev()
    del raw["repository"]["models"]
    raw["serving"][0]["models"] = ["add_sub", "nope"]
    told = r"triton-fleet:serving\[0\]\.models names nope, which is not in the repository: Triton would not start"
    with pytest.raises(FleetError, match=told):
        await build(raw)
    assert monitor.requests == {}


async def test_models_that_triton_would_refuse_stop_it_before_anything_is_registered(monitor: Monitor) -> None:
    raw = dev()
    del raw["repository"]["models"]  # those for GPUs too
    with pytest.raises(FleetError) as caught:
        await build(raw)
    assert monitor.requests == {}
    *engine, first, second = map(str, caught.value.problems)
    assert {problem.split(":")[0] for problem in engine} == {"models/bert_large/1/model.plan", "models/bert_large/config.pbtxt"}
    assert first.startswith("models/fil_xgboost/config.pbtxt:4: backend (fil) is not in the image of triton-fleet:serving[0] (")
    assert second.startswith("models/fil_xgboost/config.pbtxt:8: instance_group[0].kind is KIND_GPU")


async def test_models_that_no_gpu_deployment_loads_are_not_held_against_it(monitor: Monitor) -> None:
    raw = dev()
    raw["repository"]["models"].append("fil_xgboost")
    raw["serving"][0]["models"] = ["pipeline", "upper"]
    await build(raw)
    assert monitor.requests


ISTIO = """
kubernetes:core/v1:Namespace istio-ingress
kubernetes:core/v1:Namespace istio-system
kubernetes:helm.sh/v3:Release istio-base
kubernetes:helm.sh/v3:Release istiod
kubernetes:helm.sh/v3:Release triton-gateway
kubernetes:networking.istio.io/v1:DestinationRule triton-route-destinationrule
kubernetes:networking.istio.io/v1:Gateway triton-route-gateway
kubernetes:networking.istio.io/v1:VirtualService triton-route-virtualservice
triton-fleet:addons:IstioGateway gateway
triton-fleet:addons:IstioRoute triton-route
"""
"""What ``ingress: {kind: istio}`` adds to a stack of one deployment."""


def mesh() -> dict[str, Any]:
    """The dev stack behind a gateway; its charts would come from their publishers, whom nobody asks here."""
    return {**dev(), "charts": {}, "ingress": {"kind": "istio", "serviceType": "NodePort", "injection": True}}


async def test_a_gateway_adds_what_it_needs_and_changes_nothing_else(monitor: Monitor) -> None:
    exports = await build(mesh())
    assert set(monitor.requests) - set(SNAPSHOT.split("\n")) == set(ISTIO.split("\n")[1:-1])
    assert exports["gateway"] == {"service": "triton-gateway.istio-ingress.svc.cluster.local", "hosts": {"triton": ["*"]}}
    labels = inputs(monitor, "kubernetes:core/v1:Namespace triton")["metadata"]["labels"]
    assert labels["istio-injection"] == "enabled"


async def test_pods_that_get_sidecars_come_after_what_gives_them(monitor: Monitor) -> None:
    await build(mesh())
    waits = {urn.rsplit("::", 1)[-1] for urn in monitor.requests["kubernetes:core/v1:Namespace triton"].dependencies}
    assert "istiod" in waits


async def test_pods_load_their_models_while_metrics_come_up(monitor: Monitor) -> None:
    """Nothing of what reads or serves metrics stands before Triton, in whatever way."""
    await build(mesh())
    reached: set[str] = set()
    left = ["kubernetes:helm.sh/v4:Chart triton"]
    while left:
        key = left.pop()
        if key not in reached and key in monitor.requests:
            reached.add(key)
            parts = [urn.split("::") for urn in monitor.requests[key].dependencies]
            left += [f"{part[2].rsplit('$', 1)[-1]} {part[3]}" for part in parts]
    assert "kubernetes:helm.sh/v3:Release istiod" in reached
    assert not {"kubernetes:helm.sh/v3:Release kps", "kubernetes:helm.sh/v3:Release prometheus-adapter"} & reached


async def test_dashboard_and_alerts_only_where_they_are_asked_for(monitor: Monitor) -> None:
    raw = {**dev(), "alerts": {"enabled": True}, "dashboard": {"enabled": True}}
    raw["prometheus"]["grafana"] = True
    await build(raw)
    assert set(monitor.requests) - set(SNAPSHOT.split("\n")) == {
        "triton-fleet:serving:Observability observability",
        "kubernetes:core/v1:ConfigMap observability-dashboard",
        "kubernetes:monitoring.coreos.com/v1:PrometheusRule observability-alerts",
    }


async def test_a_client_beside_the_deployments(monitor: Monitor) -> None:
    raw = {**dev(), "client": {"enabled": True, "image": "sdk:1"}}
    raw["serving"].append({"name": "bert-large", "image": "x:1", "models": ["add_sub"], "resources": {"gpus": 0}})
    exports = await build(raw)
    assert exports["client"] == "kubectl -n triton exec deploy/triton-client --"
    inputs_of = inputs(monitor, "kubernetes:apps/v1:Deployment triton-client")
    assert inputs_of["metadata"]["namespace"] == "triton"
    pod = inputs_of["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "sdk:1"
    keys = {"TRITON_TRITON_KEY": "triton-admin", "TRITON_BERT_LARGE_KEY": "bert-large-admin"}
    secrets = {entry["name"]: entry["valueFrom"]["secretKeyRef"] for entry in container["env"] if "valueFrom" in entry}
    assert secrets == {name: {"name": secret, "key": "key"} for name, secret in keys.items()}
    assert {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry} == {
        "HOME": "/tmp",
        "TRITON_TRITON_HTTP": "triton.triton.svc.cluster.local:8000",
        "TRITON_TRITON_GRPC": "triton.triton.svc.cluster.local:8001",
        "TRITON_BERT_LARGE_HTTP": "bert-large.triton.svc.cluster.local:8000",
        "TRITON_BERT_LARGE_GRPC": "bert-large.triton.svc.cluster.local:8001",
    }
    assert "nvidia.com/gpu" not in str(container["resources"])
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    waits = {urn.rsplit("::", 1)[-1] for urn in monitor.requests["kubernetes:apps/v1:Deployment triton-client"].dependencies}
    assert {"triton", "bert-large"} <= waits


async def test_the_dev_stacks_objects_are_what_they_were(monitor: Monitor) -> None:
    """A gateway, add-ons of nodes and alerts are off, and leave no trace where they are."""
    await build(dev())
    labels = inputs(monitor, "kubernetes:core/v1:Namespace triton")["metadata"]["labels"]
    assert labels == {
        "app.kubernetes.io/name": "triton",
        "app.kubernetes.io/instance": "triton",
        "app.kubernetes.io/managed-by": "triton-fleet",
        "pod-security.kubernetes.io/warn": "restricted",
    }
    for name in ("kps", "dcgm-exporter", "prometheus-adapter"):
        assert "skipCrds" not in inputs(monitor, f"kubernetes:helm.sh/v3:Release {name}")


async def test_a_volume_that_the_models_do_not_fit_into_is_told_with_the_rest(monitor: Monitor) -> None:
    raw = dev()
    raw["serving"][0]["prefetch"] = {"enabled": True, "volume": {"size": "1"}}
    raw["serving"][0]["models"] = ["nope"]
    raw["serving"].append(
        {"name": "second", "image": "x:1", "resources": {"gpus": 0}, "prefetch": {"enabled": True, "volume": {"size": "1k"}}}
    )
    raw["repository"]["models"] = None
    with pytest.raises(
        FleetError, match=r"(?s)problems:.*names nope.*triton-fleet:serving\[1\]\.prefetch\.volume\.size \(1k\) is less than"
    ):
        await build(raw)
    assert monitor.requests == {}


async def test_models_that_are_copied_first(monitor: Monitor) -> None:
    raw = dev()
    raw["serving"][0]["prefetch"] = True
    raw["serving"][0]["models"] = ["pipeline"]
    await build(raw)
    values = inputs(monitor, "kubernetes:helm.sh/v4:Chart triton")["values"]
    assert values["prefetch"]["models"] == ["add_sub", "busy", "pipeline"]
    assert values["prefetch"]["volume"]["size"] == "65Mi"
    assert values["modelRepository"]["url"] == "s3://http://10.111.0.1:7070/models/releases"
