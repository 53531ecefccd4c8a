"""The double of the gcp plugin without an engine: what a preview refuses, and that every property has its place at Google."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import FOLDER_VARIABLE
from tests.doubles.gcp import api, shapes
from tests.doubles.gcp.expand import NEVER, Unmapped, expand, same
from tests.doubles.gcp.plugin import KINDS, Gcp
from tests.doubles.provider import UNKNOWN, Call, world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POOL = "gcp:container/nodePool:NodePool"
CLUSTER = "gcp:container/cluster:Cluster"

NOT_LEARNT = {
    "gcp:compute/network:Network": {"bgpAlwaysCompareMed", "bgpBestPathSelectionMode", "bgpInterRegionCost", "deleteBgpAlwaysCompareMed"},
    "gcp:serviceaccount/key:Key": {"publicKeyData"},
    POOL: {
        "networkConfig.additionalNodeNetworkConfigs.stackType",
        "nodeConfig.ephemeralStorageConfig",
        "nodeConfig.hostMaintenancePolicy",
        "nodeConfig.sandboxConfig.sandboxType",
    },
}
"""Properties that the double refuses in a preview, because it could not send them: of the API's beta, of BGP, of TPUs and sandboxes."""
RESHAPED = {
    "gcp:storage/bucket:Bucket": {"lifecycleRules"},
    POOL: {"nodeCount"},
    CLUSTER: {
        "maintenancePolicy.dailyMaintenanceWindow",
        "maintenancePolicy.maintenanceExclusions",
        "maintenancePolicy.recurringWindow",
    },
}
"""Properties that code, and no table, turns into what Google takes."""


@pytest.fixture
def double(tmp_path: Path) -> Gcp:
    made = Gcp(world({FOLDER_VARIABLE: str(tmp_path)}))
    made.configure({"project": "triton-test", "region": "us-central1"})
    return made


def check(double: Gcp, token: str, inputs: dict[str, Any]) -> list[tuple[str, str]]:
    return list(double.check(Call(world=double.world, operation="check", token=token, name="it", inputs=inputs)).failures)


def unmapped(token: str) -> Iterator[str]:
    """Paths of a type's properties that nothing maps."""
    kind = KINDS[token]
    if not kind.schema:
        return
    document = api.document(kind.api)

    def walk(schema: dict[str, Any], shape: Any, path: str) -> Iterator[str]:
        for key, inner in shape["object"].items():
            here = f"{path}.{key}" if path else key
            try:
                expand(document, schema, {key: None}, kind.names, path)
            except Unmapped:
                yield here
                continue
            target = kind.names.get(here, same(key, schema.get("properties", {})))
            found = schema
            for part in (target or NEVER).split(".") if target else ():
                found = document.resolve(found["properties"][part])
            while found.get("type") == "array":
                found = document.resolve(found["items"])
            while isinstance(inner, dict) and "list" in inner:
                inner = inner["list"]  # noqa: PLW2901  # from the list to what is in it
            if target and isinstance(inner, dict) and "object" in inner and "properties" in found:
                yield from walk(found, inner, here)

    yield from walk(document.schema(kind.schema), shapes.load(KINDS)[token]["inputs"], "")


@pytest.mark.parametrize("token", sorted(set(KINDS) - {CLUSTER}))
def test_every_property_goes_somewhere(token: str) -> None:
    assert set(unmapped(token)) == NOT_LEARNT.get(token, set()) | RESHAPED.get(token, set())


def test_a_cluster_lacks_what_standard_clusters_do_not_have() -> None:
    lacking = {path for path in unmapped(CLUSTER) if not path.startswith("nodePools")} - RESHAPED[CLUSTER]
    assert not lacking & {"addonsConfig", "databaseEncryption", "ipAllocationPolicy", "releaseChannel", "monitoringConfig", "loggingConfig"}
    assert {"allowNetAdmin", "tpuConfig", "clusterTelemetry"} <= lacking


def test_replacement_and_choices_name_properties_that_there_are() -> None:
    known = shapes.load(KINDS)

    def there(shape: Any, parts: list[str]) -> bool:
        while isinstance(shape, dict) and "list" in shape:
            shape = shape["list"]
        return not parts or (
            isinstance(shape, dict) and parts[0] in shape.get("object", {}) and there(shape["object"][parts[0]], parts[1:])
        )

    for token, kind in KINDS.items():
        for path in (*kind.replaces, *kind.choices, *kind.defaults):
            assert there(known[token]["inputs"], path.split(".")), f"{token} has no {path}"


NODES = {"machineType": "g2-standard-8", "guestAccelerators": [{"type": "nvidia-l4", "count": 1}]}


@pytest.mark.parametrize(
    ("token", "inputs", "at", "said"),
    [
        (
            POOL,
            {"cluster": "c", "nodeConfig": {**NODES, "guestAccelerators": [{"type": "nvidia-l4"}]}},
            "nodeConfig.guestAccelerators[0].count",
            "Missing",
        ),
        (POOL, {"cluster": "c", "min_nodes": 1}, "min_nodes", "Invalid or unknown key"),
        (POOL, {"cluster": "c", "nodeConfig": {"machine_type": "x"}}, "nodeConfig.machine_type", "did you mean machineType"),
        (POOL, {"cluster": "c", "nodeConfig": {"spot": "yes"}}, "nodeConfig.spot", "expected boolean, got string"),
        (POOL, {"cluster": "c", "initialNodeCount": 1.5}, "initialNodeCount", "expected integer"),
        (POOL, {"cluster": "c", "nodeLocations": "us-central1-a"}, "nodeLocations", "expected a list"),
        (
            POOL,
            {"cluster": "c", "nodeConfig": {"taints": [{"key": "a", "value": "b", "effect": "NoSchedule"}]}},
            "nodeConfig.taints[0].effect",
            "NO_SCHEDULE",
        ),
        (POOL, {"cluster": "c", "initialNodeCount": 1, "nodeCount": 1}, "", "Cannot set both"),
        (
            POOL,
            {"cluster": "c", "nodeConfig": {"hostMaintenancePolicy": {"maintenanceInterval": "AS_NEEDED"}}},
            "nodeConfig.hostMaintenancePolicy",
            "can't send",
        ),
        (POOL, {}, "cluster", "Missing required argument"),
        (CLUSTER, {"name": "a" * 41}, "name", "cannot be longer than 40"),
        (
            CLUSTER,
            {"privateClusterConfig": {"masterIpv4CidrBlock": "172.16.0.0/27"}},
            "privateClusterConfig.masterIpv4CidrBlock",
            "28 significant bits",
        ),
        (CLUSTER, {"releaseChannel": {"channel": "rapid"}}, "releaseChannel.channel", "got rapid"),
        (
            CLUSTER,
            {"ipAllocationPolicy": {"clusterSecondaryRangeName": "p", "clusterIpv4CidrBlock": "/14"}},
            "ipAllocationPolicy.clusterSecondaryRangeName",
            "conflicts",
        ),
        ("gcp:compute/network:Network", {}, "autoCreateSubnetworks", "set it to False"),
        ("gcp:serviceaccount/account:Account", {"accountId": "a"}, "accountId", "doesn't match regexp"),
        (
            "gcp:projects/iAMMember:IAMMember",
            {"project": "p", "role": "roles/viewer", "member": "me@example.com"},
            "member",
            "must be of a form",
        ),
    ],
)
def test_what_a_preview_refuses(double: Gcp, token: str, inputs: dict[str, Any], at: str, said: str) -> None:
    found = check(double, token, inputs)
    assert any(place == at and said in reason for place, reason in found), found


def test_what_is_not_known_yet_is_no_mistake(double: Gcp) -> None:
    assert check(double, POOL, {"cluster": UNKNOWN, "nodeConfig": {**NODES, "serviceAccount": UNKNOWN, "spot": UNKNOWN}}) == []


def test_a_name_is_made_and_kept(double: Gcp) -> None:
    call = Call(world=double.world, operation="check", token=POOL, name="gpu", inputs={"cluster": "c"}, seed=b"1")
    name = double.check(call).inputs["name"]
    assert name.startswith("gpu-")
    again = Call(world=double.world, operation="check", token=POOL, name="gpu", inputs={"cluster": "c"}, olds={"name": name}, seed=b"2")
    assert double.check(again).inputs["name"] == name


def test_a_preview_knows_what_only_google_knows(double: Gcp) -> None:
    inputs = {"name": "c", "location": "us-central1", "controlPlaneEndpointsConfig": {"dnsEndpointConfig": {"allowExternalTraffic": True}}}
    state = double.preview(Call(world=double.world, operation="create", token=CLUSTER, name="c", inputs=inputs))
    assert state["controlPlaneEndpointsConfig"]["dnsEndpointConfig"] == {"allowExternalTraffic": True, "endpoint": UNKNOWN}
    assert state["endpoint"] is UNKNOWN
    assert (state["project"], state["name"]) == ("triton-test", "c")


def test_a_pool_as_google_takes_it() -> None:
    inputs = {
        "name": "gpu",
        "cluster": "projects/p/locations/us-central1-a/clusters/c",
        "initialNodeCount": 1,
        "autoscaling": {"totalMaxNodeCount": 4, "locationPolicy": "ANY"},
        "maxPodsPerNode": 32,
        "nodeConfig": {
            **NODES,
            "bootDisk": {"sizeGb": 200},
            "diskSizeGb": 200,
            "secondaryBootDisks": [{"diskImage": "a", "mode": "CONTAINER_IMAGE_CACHE"}, {"diskImage": "b"}],
            "loggingVariant": "DEFAULT",
        },
    }
    body = KINDS[POOL].body(inputs)
    assert api.document("container").check("NodePool", body) == []
    assert body["config"]["bootDisk"] == {"sizeGb": "200"}, "a long integer there"
    assert body["config"]["diskSizeGb"] == 200, "a short one here"
    assert body["config"]["secondaryBootDisks"] == [{"diskImage": "a", "mode": "CONTAINER_IMAGE_CACHE"}], (
        "the provider sends the first alone"
    )
    assert body["config"]["loggingConfig"] == {"variantConfig": {"variant": "DEFAULT"}}
    assert body["autoscaling"]["minNodeCount"] == 0, "the other pair is sent as zeros"
    assert body["maxPodsConstraint"] == {"maxPodsPerNode": "32"}
