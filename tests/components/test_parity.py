"""EKS and GKE beside each other: one suite of behaviours for both, so that a feature of one that the other lacks is a failing test.

Three ways of looking: the objects that one settings file gives on each cloud, behaviours that must hold on both, and the keys that their
settings have. Every difference is written down here with its reason; one that is not is a failure.
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pytest
from pulumi.runtime.stack import wait_for_rpcs

from components.base.errors import FleetError
from components.base.model import Model
from components.fleet import TritonFleet, TritonFleetArgs
from components.stack.load import parse
from tests.components import test_eks, test_gke
from tests.components.recording import Monitor, of_type, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.usefixtures("surroundings")

ROOT = Path(__file__).resolve().parents[2]
CLOUDS: Final = ("eks", "gke")
MOCKS: Final[dict[str, Callable[[], pulumi.runtime.Mocks]]] = {"eks": test_eks.Mocks, "gke": test_gke.Mocks}
PLACE: Final[dict[str, dict[str, Any]]] = {
    "eks": {"provider": "eks", "region": "eu-west-1"},
    "gke": {"provider": "gke", "region": "europe-west4", "project": "my-project"},
}
"""The provider, and what says where."""
MACHINE: Final = {"eks": "g6.2xlarge", "gke": "g2-standard-8"}
"""The size: one L4, 8 vCPU, 32 GiB."""
SCALES_NODES: Final[dict[str, dict[str, Any]]] = {
    "eks": {"autoscaler": {"kind": "clusterAutoscaler"}, "loadBalancer": {"enabled": True}},
    "gke": {},  # the cloud does both itself
}
IMAGE: Final = "nvcr.io/nvidia/tritonserver:26.07-py3"

FILE: Final[dict[str, Any]] = {
    "cluster": {
        "name": "fleet",
        "endpoint": {"publicCidrs": ["203.0.113.0/24"]},
        "gpuPools": [{"name": "gpu", "min": 1, "max": 4}],
    },
    "repository": {
        "models": ["add_sub", "busy", "pipeline", "upper"],
        "bucket": "models-of-mine",
        "endpoint": "https://store.example.com",
        "credentials": "environment",
    },
    "prometheus": {"storageClass": "standard"},
    "ingress": {"kind": "istio", "injection": True, "domain": "models.example.com"},
    "warmFloor": [{"pool": "gpu", "pods": 1}],
    "alerts": {"enabled": True},
    "dashboard": {"enabled": True},
    "serving": [
        {
            "name": "triton",
            "image": IMAGE,
            "resources": {"cpu": "2", "memory": "8Gi"},
            "scaling": {
                "maxReplicas": 3,
                "metrics": [
                    {"kind": "queueTime", "target": "50ms"},
                    {"kind": "pendingRequests", "target": 16},
                    {"kind": "gpuUtilization", "target": 80},
                ],
            },
        },
        {"name": "small", "image": IMAGE, "models": ["upper"], "resources": {"gpus": 0, "cpu": "1", "memory": "2Gi"}, "prefetch": True},
    ],
}
"""One settings file with all that both clouds have; `on` puts the provider and the size in."""


def on(cloud: str, **sections: Any) -> dict[str, Any]:
    """The file for a cloud: nothing but ``cluster.provider``, its place and the machine type differ."""
    raw = copy.deepcopy({**FILE, **sections})
    raw["cluster"] = {**PLACE[cloud], **raw["cluster"]}
    for pool in raw["cluster"].get("gpuPools", ()):
        pool["machineType"] = MACHINE[cloud]
    return raw


BUILT: Final[dict[str, tuple[Monitor, dict[str, Any]]]] = {}
"""What was built already, by settings file: a fleet takes seconds."""


async def build(cloud: str, raw: dict[str, Any]) -> tuple[Monitor, dict[str, Any]]:
    """Run the fleet of ``raw`` to the end, once a settings file: what it registered, and its exports. Not to be changed."""
    text = json.dumps(raw, sort_keys=True)
    if text in BUILT:
        return BUILT[text]
    monitor = start(MOCKS[cloud]())
    try:
        fleet = TritonFleet("fleet", TritonFleetArgs(settings=parse(raw), project_dir=ROOT))
        exports: dict[str, Any] = await pulumi.Output.from_input(fleet.exports).future()  # type: ignore[assignment]
    finally:
        await wait_for_rpcs()
    BUILT[text] = (monitor, exports)
    return BUILT[text]


def objects(monitor: Monitor) -> dict[str, dict[str, Any]]:
    """What goes to Kubernetes: objects, releases and charts. Without keys to admin endpoints, which are random."""
    found = {f"{kind.removeprefix('kubernetes:')} {name}": inputs for (kind, name), inputs in monitor.of("kubernetes:").items()}
    return {name: {**inputs, "data": None} if name.endswith("-admin-key") else inputs for name, inputs in found.items()}


def differences(one: Any, other: Any, path: str) -> Iterator[str]:
    """Paths where two values differ; a list counts as one value."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted(one.keys() | other.keys()):
            yield from differences(one.get(key), other.get(key), f"{path}.{key}")
    elif one != other:
        yield path


# ------------------------------------------------------------------------------------------------ one settings file
OBJECTS_ONLY: Final = {
    "eks": {
        # GKE runs a device plugin of its own, and exactly one may run on a node.
        "core/v1:Namespace nvidia-device-plugin",
        "helm.sh/v3:Release nvidia-device-plugin",
        # EKS comes without a storage class that works, GKE with one.
        "storage.k8s.io/v1:StorageClass gp3",
    },
    # GKE lets the exporter's priority in only by a quota for it.
    "gke": {"core/v1:ResourceQuota dcgm-critical-pods"},
}
VALUES: Final = {
    # GKE's driver lies in a folder of the host's, and its device plugin names GPUs otherwise.
    *(
        f"helm.sh/v3:Release dcgm-exporter.values.{key}"
        for key in ("affinity", "extraEnv", "extraHostVolumes", "extraVolumeMounts", "nodeSelector", "securityContext", "tolerations")
    ),
    # How each cloud is asked for a load balancer that is reached from inside.
    "helm.sh/v3:Release triton-gateway.values.service.annotations.networking.gke.io/load-balancer-type",
    "helm.sh/v3:Release triton-gateway.values.service.annotations.service.beta.kubernetes.io/aws-load-balancer-internal",
    "helm.sh/v3:Release triton-gateway.values.service.annotations.service.beta.kubernetes.io/aws-load-balancer-type",
    # GKE's DNS is not CoreDNS.
    "helm.sh/v3:Release kps.values.coreDns",
}
"""Differences of objects that both clouds have. Anything else is one too many."""


async def test_one_settings_file_gives_the_same_objects_on_both_clouds() -> None:
    eks, gke = [objects((await build(cloud, on(cloud)))[0]) for cloud in CLOUDS]
    assert eks.keys() - gke.keys() == OBJECTS_ONLY["eks"]
    assert gke.keys() - eks.keys() == OBJECTS_ONLY["gke"]
    found = {path for name in eks.keys() & gke.keys() for path in differences(eks[name], gke[name], name)}
    assert found == VALUES


async def test_add_ons_that_only_eks_needs() -> None:
    """EKS' nodes and load balancers need controllers, GKE brings its own: the objects besides these stay the same."""
    plain = objects((await build("eks", on("eks")))[0])
    full = objects((await build("eks", on("eks", **SCALES_NODES["eks"])))[0])
    assert full.keys() - plain.keys() == {"helm.sh/v3:Release cluster-autoscaler", "helm.sh/v3:Release aws-load-balancer-controller"}
    changed = {path for name in plain for path in differences(plain[name], full[name], name)}
    assert {re.sub(r"aws-load-balancer-[a-z-]+(\.TCP-\d+)?$", "", path) for path in changed} == {
        "helm.sh/v3:Release triton-gateway.values.service.annotations.service.beta.kubernetes.io/",
        # Its load balancers take minutes to register pods and to let them go (tests/unit/gateway/test_chain.py).
        "core/v1:Namespace istio-ingress.metadata.labels.elbv2.k8s.aws/pod-readiness-gate-inject",
        "helm.sh/v3:Release triton-gateway.values.lifecycle.preStop.sleep.seconds",
        "helm.sh/v3:Release triton-gateway.values.terminationGracePeriodSeconds",
    }


# ------------------------------------------------------------------------------------------------ behaviours of both
NATIVE: Final = {
    "eks": {"store": "s3", "bucket": "models-of-mine", "region": "eu-west-1"},
    "gke": {"store": "gcs", "bucket": "models-of-mine"},
}
"""The cloud's own bucket, read without a key."""
IDENTITY: Final = {"eks": "eks.amazonaws.com/role-arn", "gke": "iam.gke.io/gcp-service-account"}
INTERNAL: Final = {
    "eks": ("service.beta.kubernetes.io/aws-load-balancer-scheme", "internal"),
    "gke": ("networking.gke.io/load-balancer-type", "Internal"),
}


def native(cloud: str, **sections: Any) -> dict[str, Any]:
    """The file with the cloud's own bucket and what it needs besides to scale its nodes."""
    models = FILE["repository"]["models"]
    return on(cloud, repository={**NATIVE[cloud], "models": models}, **{**SCALES_NODES[cloud], **sections})


def chart(monitor: Monitor, name: str = "triton") -> dict[str, Any]:
    values: dict[str, Any] = monitor.inputs("kubernetes:helm.sh/v4:Chart", name)["values"]
    return values


def release(monitor: Monitor, name: str) -> dict[str, Any]:
    values: dict[str, Any] = monitor.inputs("kubernetes:helm.sh/v3:Release", name)["values"]
    return values


def ancestors(monitor: Monitor, kind: str, name: str) -> set[tuple[str, str]]:
    """All that a resource waits for, directly or by way of others; (last part of the type, logical name)."""
    short = {(request.type.rsplit(":", 1)[-1], request.name): (request.type, request.name) for request in monitor.requests.values()}
    found: set[tuple[str, str]] = set()
    todo = [(kind, name)]
    while todo:
        for step in monitor.waits(*todo.pop()) - found:
            found.add(step)
            if step in short:
                todo.append(short[step])
    return found


@pytest.mark.parametrize("cloud", CLOUDS)
async def test_models_are_read_without_a_key(cloud: str) -> None:
    monitor, _ = await build(cloud, native(cloud))
    for name in ("triton", "small"):
        values = chart(monitor, name)
        assert list(values["serviceAccount"]["annotations"]) == [IDENTITY[cloud]]
        assert (values["modelRepository"]["credentialsSecret"], values["modelRepository"]["keyFileSecret"]) == ("", "")
    assert {name for _, name in monitor.of("kubernetes:core/v1:Secret")} == {"triton-admin-key", "small-admin-key"}


@pytest.mark.parametrize("cloud", CLOUDS)
async def test_everything_goes_through_the_clusters_provider_and_goes_before_its_nodes(cloud: str) -> None:
    """A destroy goes backwards: pods, their volumes and load balancers need nodes and controllers to be taken away."""
    monitor, _ = await build(cloud, native(cloud))
    requests = {key: request for key, request in monitor.requests.items() if key.startswith("kubernetes:")}
    assert len(requests) > 20
    for key, request in requests.items():
        provider = request.provider or request.providers.get("kubernetes", "")
        assert "pulumi:providers:kubernetes" in provider, key
    nodes = {*of_type(monitor, "aws:eks/nodeGroup:NodeGroup"), *of_type(monitor, "gcp:container/nodePool:NodePool")}
    assert len(nodes) == 2
    kind = "pulumi:providers:kubernetes"
    (kube,) = of_type(monitor, kind)
    assert nodes & {name for _, name in ancestors(monitor, kind, kube)}, "the provider of Kubernetes comes after nodes that take pods"


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("scheme", ["internal", "internet-facing"])
async def test_the_gateways_load_balancer(cloud: str, scheme: str) -> None:
    ingress = {**FILE["ingress"], "scheme": scheme, "sourceRanges": ["203.0.113.0/24"]}
    monitor, _ = await build(cloud, native(cloud, ingress=ingress))
    service = release(monitor, "triton-gateway")["service"]
    key, value = INTERNAL[cloud]
    assert (service["annotations"].get(key) == value) is (scheme == "internal")
    assert service["annotations"], "asked for on purpose, whatever the cloud would do without"
    assert service["loadBalancerSourceRanges"] == ["203.0.113.0/24"]


@pytest.mark.parametrize("cloud", CLOUDS)
async def test_a_load_balancer_of_tritons_own_is_reached_from_inside_unless_told_otherwise(cloud: str) -> None:
    key, value = INTERNAL[cloud]
    raw = native(cloud)
    raw["serving"][0]["service"] = {"type": "LoadBalancer"}
    public = {"eks": "internet-facing", "gke": "External"}[cloud]
    asked = {"type": "LoadBalancer", "scheme": "internet-facing", "sourceRanges": ["203.0.113.0/24"], "annotations": {key: public}}
    raw["serving"][1]["service"] = asked
    monitor, _ = await build(cloud, raw)
    assert chart(monitor)["service"]["annotations"][key] == value
    assert chart(monitor, "small")["service"]["annotations"][key] == public
    assert chart(monitor, "small")["service"]["sourceRanges"] == ["203.0.113.0/24"]
    if cloud == "eks":
        assert ("Release", "aws-load-balancer-controller") in monitor.waits("kubernetes:helm.sh/v4:Chart", "triton")


@pytest.mark.parametrize("cloud", CLOUDS)
async def test_gpu_nodes_are_tainted_and_what_belongs_there_tolerates_it(cloud: str) -> None:
    monitor, _ = await build(cloud, native(cloud))
    ((_, pool),) = [
        entry
        for entry in [*monitor.of("aws:eks/nodeGroup:NodeGroup").items(), *monitor.of("gcp:container/nodePool:NodePool").items()]
        if "gpu" in entry[0][1]
    ]
    (taint,) = pool["taints"] if cloud == "eks" else pool["nodeConfig"]["taints"]
    assert (taint["key"], taint["value"], taint["effect"]) == ("nvidia.com/gpu", "present", "NO_SCHEDULE")
    (placeholder,) = [inputs for (_, name), inputs in monitor.of("kubernetes:apps/v1:Deployment").items() if "placeholder" in name]
    (toleration,) = placeholder["spec"]["template"]["spec"]["tolerations"]
    assert (toleration["key"], toleration["operator"]) == ("nvidia.com/gpu", "Exists")
    exporter = release(monitor, "dcgm-exporter")["tolerations"]
    assert any(one["operator"] == "Exists" and one.get("key") in {None, "nvidia.com/gpu"} for one in exporter)


@pytest.mark.parametrize("cloud", CLOUDS)
async def test_exactly_one_device_plugin_runs(cloud: str) -> None:
    monitor, _ = await build(cloud, native(cloud))
    installed = "kubernetes:helm.sh/v3:Release nvidia-device-plugin" in monitor.requests
    assert installed is (cloud == "eks"), "GKE runs its own"


@pytest.mark.parametrize("cloud", CLOUDS)
async def test_the_exports_have_the_same_names(cloud: str) -> None:
    _, exports = await build(cloud, native(cloud))
    assert exports.keys() == {"cluster", "repository", "prometheus", "serving", "gateway"}
    assert exports["cluster"] == "fleet"
    assert exports["gateway"]["hosts"] == {"triton": ["triton.models.example.com"], "small": ["small.models.example.com"]}


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize(
    ("sharing", "pods"),
    [({"kind": "whole"}, 1), ({"kind": "timeSlicing", "replicas": 4}, 4), ({"kind": "mps", "replicas": 4}, 4)],
)
def test_a_shared_gpu_has_room_for_as_many_pods(cloud: str, sharing: dict[str, Any], pods: int) -> None:
    raw = on(cloud, warmFloor=[], **SCALES_NODES[cloud])
    raw["cluster"]["gpuPools"][0] |= {"sharing": sharing, "max": 1}
    scaling = raw["serving"][0]["scaling"]
    scaling["metrics"] = scaling["metrics"][:2]  # the GPU's own figure is nobody's there
    scaling["maxReplicas"] = pods
    assert parse(raw)
    scaling["maxReplicas"] = pods + 1
    with pytest.raises(FleetError, match=r"triton-fleet:serving\[0\]\.scaling\.maxReplicas \(\d+\) with 1 nvidia.com/gpu each is above"):
        parse(raw)


# ------------------------------------------------------------------------------------------------ mistakes of both
def _pool(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda raw: raw["cluster"]["gpuPools"][0].update(values)


def _first(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda raw: raw["serving"][0].update(values)


def _cluster(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda raw: raw["cluster"].update(values)


def _top(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda raw: raw.update(values)


MISTAKES: Final[list[tuple[str, Callable[[dict[str, Any]], None], str]]] = [
    ("more replicas than GPUs", _first(scaling={"maxReplicas": 9}), "serving[0].scaling.maxReplicas"),
    ("more GPUs than a node has", _first(resources={"gpus": 2}), "serving[0].resources.gpus"),
    ("a slice that no pool offers", _first(resources={"gpuResource": "nvidia.com/mig-1g.5gb"}), "serving[0].resources.gpuResource"),
    ("more memory than a node has", _first(resources={"memory": "500Gi"}), "serving[0].resources"),
    ("a label that no pool has", _first(nodeSelector={"triton-fleet/pool": "none"}), "serving[0].nodeSelector"),
    ("GPUs without a pool", _cluster(gpuPools=[]), "serving[0].resources.gpus"),
    ("a floor in no pool", _top(warmFloor=[{"pool": "other", "pods": 1}]), "warmFloor[0].pool"),
    ("a floor above the pool", _top(warmFloor=[{"pool": "gpu", "pods": 9}]), "warmFloor[0].pods"),
    ("a floor on spot nodes", _pool(capacity="spot"), "warmFloor[0].pool"),
    ("fewer at most than at least", _pool(min=5), "cluster.gpuPools[0].min"),
    ("a size outside of its bounds", _pool(desired=9), "cluster.gpuPools[0].desired"),
    ("a machine without GPUs", _pool(machineType="large"), "cluster.gpuPools[0].machineType"),
    ("a label of Kubernetes'", _pool(labels={"kubernetes.io/x": "y"}), "cluster.gpuPools[0].labels"),
    ("slices of a GPU that has none", _pool(sharing={"kind": "mig", "profile": "1g.5gb"}), "cluster.gpuPools[0].sharing"),
    ("an API for the whole internet", _cluster(endpoint={}), "cluster.endpoint.publicCidrs"),
    ("an API for nobody", _cluster(endpoint={"public": False, "private": False}), "cluster.endpoint.private"),
    (
        "networks that nothing listens to",
        _cluster(endpoint={"public": False, "publicCidrs": ["10.0.0.0/8"]}),
        "cluster.endpoint.publicCidrs",
    ),
    ("a region that is none", _cluster(region="Europe"), "cluster.region"),
    ("a name that is none", _cluster(name="-"), "cluster.name"),
    ("addresses that are none", _cluster(network={"kind": "create", "cidr": "10.0.0.1/16"}), "cluster.network.cidr"),
    ("a pool of nobody", _cluster(cpuPool={"min": 0}), "cluster.cpuPool.min"),
]


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize(("change", "key"), [entry[1:] for entry in MISTAKES], ids=[entry[0] for entry in MISTAKES])
def test_a_mistake_is_told_at_the_same_key(cloud: str, change: Callable[[dict[str, Any]], None], key: str) -> None:
    raw = on(cloud, **SCALES_NODES[cloud])
    change(raw)
    with pytest.raises(FleetError) as caught:
        parse(raw)
    told = [problem for problem in map(str, caught.value.problems) if problem.removeprefix("triton-fleet:").startswith(key)]
    assert told, caught.value.problems
    for problem in told:
        assert re.search(r"[:,] .+[.!] .+\.$", problem, re.DOTALL), f"no consequence or no remedy: {problem}"


# ------------------------------------------------------------------------------------------------ keys of both
EKS_ONLY: Final = {
    "profile": "AWS' way of choosing credentials",
    "addonVersions": "GKE keeps its own add-ons up to date",
    "nodeMonitoring": "GKE repairs nodes by itself, and has no agent to choose",
    "support": "GKE has it as a channel: releaseChannel extended",
    "logRetentionDays": "Cloud Logging's is a property of the project's bucket of logs",
    "logsKey": "a bucket of logs has its key in Cloud Logging, once for the project",
    "modelsKey": "Cloud Storage decrypts for whoever may read the object; AWS wants a right to the key too",
    "sessionManager": "SSH through IAP needs nothing of the nodes",
    "network.interfaceEndpoints": "Private Google Access is the subnet's and costs nothing: always on",
    "cpuPool.release": "the release channel chooses GKE's node images, and upgrade says how nodes are replaced",
    "gpuPools[].release": "the release channel chooses GKE's node images, and upgrade says how nodes are replaced",
    "gpuPools[].efa": "gVNIC and compact placement are its counterparts",
    "gpuPools[].ssh": "SSH through IAP needs no key on the nodes",
}
"""Keys that EKS alone has, and why GKE needs none."""
GKE_ONLY: Final = {
    "project": "where everything is, as the account is on AWS",
    "enableApis": "AWS' are always on",
    "zone": "a zonal control plane is Google's own",
    "releaseChannel": "EKS upgrades when it is told; its support is the counterpart of extended",
    "maintenance": "windows of upgrades that happen by themselves",
    "network.controlPlaneCidr": "the control plane's network is Google's and needs addresses; EKS puts interfaces into subnets",
    "endpoint.dns": "a DNS endpoint is Google's own",
    "podsPerNode": "addresses are given out by node; EKS gives them by pod",
    "securityGroup": "Google Groups for RBAC; EKS has access entries",
    "nodeRoles": "what the nodes' account may do; on EKS those are policies of the node role",
    "dataplaneV2": "EKS' VPC CNI is what it is",
    "autoscalingProfile": "EKS' node autoscaler has settings of its own: autoscaler",
    "monitoring": "EKS' control plane logs are logs; its metrics are always there",
    "managedPrometheus": "AWS' is another service",
    "gpuQuota": "Google refuses a pool late; AWS' quotas are of instances, and seen by the autoscaler",
    "identity": "two forms of Workload Identity, of which one is not borne out",
    "cpuPool.upgrade": "EKS replaces nodes one at a time",
    "gpuPools[].accelerator": "GPUs attached to N1 machines; EC2's types have theirs",
    "gpuPools[].driver": "EKS' images come with it",
    "gpuPools[].upgrade": "EKS replaces nodes one at a time",
    "gpuPools[].compactPlacement": "efa brings its placement group",
    "gpuPools[].gvnic": "ENA is on every type",
    "gpuPools[].localSsds": "EC2's types have theirs",
    "gpuPools[].locationPolicy": "perZone and the autoscaler's expander choose the zone",
}
"""Keys that GKE alone has, and why EKS needs none."""


OTHER_DEFAULTS: Final = {"version", "logs", "gpuPools[].os", "cpuPool.machineTypes"}
"""Keys of both whose default is each cloud's own: names of machines, systems and logs, and who chooses the version."""


def keys(cloud: str) -> dict[str, type[Model]]:
    """Dotted key -> model that it belongs to, of the cluster's settings."""
    settings = parse(on(cloud, **SCALES_NODES[cloud])).cluster
    found: dict[str, type[Model]] = {}

    def visit(model: type[Model], path: str) -> None:
        for name, field in model.model_fields.items():
            key = f"{path}{field.alias or name}"
            found[key] = model
            value = getattr(settings, name, None) if path == "" else None
            if isinstance(value, Model):
                visit(type(value), f"{key}.")
            elif isinstance(value, tuple) and value and isinstance(value[0], Model):
                visit(type(value[0]), f"{key}[].")

    visit(type(settings), "")
    return found


@pytest.mark.parametrize(("cloud", "only"), [("eks", EKS_ONLY), ("gke", GKE_ONLY)])
def test_a_key_of_one_cloud_alone_has_a_reason(cloud: str, only: dict[str, str]) -> None:
    """A new key fails here until the other cloud has it too, or its reason is written down above."""
    (other,) = set(CLOUDS) - {cloud}
    assert keys(cloud).keys() - keys(other).keys() == only.keys()


def test_keys_of_both_have_the_same_shape() -> None:
    """Needed on both or on neither, and one default wherever it is no name of a cloud's own."""
    eks, gke = keys("eks"), keys("gke")
    fields = {
        key: tuple(model.model_fields[_name(model, key.rsplit(".", 1)[-1].removesuffix("[]"))] for model in (eks[key], gke[key]))
        for key in eks.keys() & gke.keys()
    }
    optional = {key for key, (one, other) in fields.items() if one.is_required() != other.is_required()}
    assert optional == set(), "needed on one, left out on the other: no file would do for both"
    defaults = {key for key, (one, other) in fields.items() if not _nested(one.get_default()) and one.get_default() != other.get_default()}
    assert defaults == OTHER_DEFAULTS


def _name(model: type[Model], alias: str) -> str:
    return next(name for name, field in model.model_fields.items() if (field.alias or name) == alias)


def _nested(default: object) -> bool:
    return isinstance(default, Model)
