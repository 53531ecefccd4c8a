"""Node pools in the plugin: each change by the method that the provider takes for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.doubles.gcp.expand import NEVER, pick
from tests.doubles.gcp.kinds import Context, Kind, saying, saying_but_gone
from tests.doubles.gcp.node_kinds import (
    CLUSTERS,
    NAME_LENGTH,
    NO_STOCK,
    NODE_CHOICES,
    NODE_REPLACES,
    OF_THE_PLUGIN,
    POOLS,
    below,
    doom,
    finish,
    node_names,
    sent_nodes,
)
from tests.doubles.provider import DoubleError, InitFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.doubles.gcp.api import Body
from tests.doubles.provider import Props


@dataclass(frozen=True, kw_only=True)
class PoolKind(Kind):
    """A node pool."""

    def problems(self, inputs: Props) -> Iterator[tuple[str, str]]:
        if inputs.get("name") and inputs.get("namePrefix"):
            yield "namePrefix", "conflicts with name"
        upgrade = inputs.get("upgradeSettings")
        if (
            isinstance(upgrade, dict)
            and upgrade.get("strategy") == "BLUE_GREEN"
            and (upgrade.get("maxSurge") or upgrade.get("maxUnavailable"))
        ):
            yield "upgradeSettings", "Surge upgrade settings may not be changed when surge strategy is not enabled"

    def identity(self, context: Context, inputs: Props) -> str:
        cluster = str(inputs["cluster"])
        if not cluster.startswith("projects/"):
            place = context.place(inputs)
            cluster = f"projects/{place['project']}/locations/{place['location']}/clusters/{cluster}"
        return f"{cluster}/nodePools/{inputs['name']}"

    def body(self, inputs: Props) -> Body:
        given = {key: value for key, value in inputs.items() if value is not None}
        if "nodeConfig" in given:
            given["nodeConfig"] = sent_nodes(given["nodeConfig"])
        if given.get("initialNodeCount") and given.get("nodeCount"):
            raise DoubleError(f"Cannot set both initial_node_count and node_count on node pool {inputs['name']}")
        count = given.pop("nodeCount", None) or given.get("initialNodeCount", 0)
        body = super().body(given)
        body["initialNodeCount"] = int(count)
        if "autoscaling" in body:
            body["autoscaling"] = _scaling(body["autoscaling"])
        if "management" in body:
            body["management"] = {"autoRepair": True, "autoUpgrade": True, **body["management"]}
        return body

    def create(self, context: Context, inputs: Props) -> tuple[str, Body]:
        identity = self.identity(context, inputs)
        parent = identity.rpartition("/nodePools/")[0]
        doom(context, identity, NO_STOCK)
        with saying("error creating NodePool"):
            operation = context.ask(f"{POOLS}.create", {"parent": parent}, {"nodePool": self.body(inputs)})
        context.finish(operation["name"])
        made = self.get(context, identity, inputs)
        if made["status"] == "ERROR":
            # The provider looks at the pool and not at the operation: one without machines is there, and comes into the state.
            raise InitFailed(
                f'NodePool {inputs["name"]} was created in the error state "ERROR": {made.get("statusMessage", "")}',
                resource_id=identity,
                state=self.state(inputs, made, self.computed, {"project": identity.split("/")[1], "location": identity.split("/")[3]}),
            )
        return identity, made

    def get(self, context: Context, identity: str, inputs: Props) -> Body:
        return context.ask(f"{POOLS}.get", {"name": identity})

    def update(self, context: Context, identity: str, inputs: Props, changed: set[str]) -> None:
        body = self.body(inputs)
        cluster, _, name = identity.rpartition("/nodePools/")
        left = set(changed) - OF_THE_PLUGIN
        if "autoscaling" in left:
            wish = {"desiredNodePoolAutoscaling": body.get("autoscaling", {"enabled": False}), "desiredNodePoolId": name}
            self._do(context, f"{CLUSTERS}.update", cluster, {"update": wish}, "autoscaling")
        if "management" in left:
            wish = {"management": body.get("management", {"autoRepair": False, "autoUpgrade": False})}
            self._do(context, f"{POOLS}.setManagement", identity, wish, "management")
        if "nodeCount" in left:
            self._do(context, f"{POOLS}.setSize", identity, {"nodeCount": int(inputs["nodeCount"])}, "size")
        for key, request in self._requests(context, left, body):
            self._do(context, f"{POOLS}.update", identity, request, key)
        left -= {"autoscaling", "management", "nodeCount", "nodeConfig", *_POOL_FIELDS}
        if left:
            raise DoubleError(f"the double has not learnt to update {', '.join(sorted(left))} of a node pool")

    def _requests(self, context: Context, changed: set[str], body: Body) -> Iterator[tuple[str, Body]]:
        for key, (field, wish) in _POOL_FIELDS.items():
            if key in changed:
                yield key, {wish: body.get(field, {})}
        if "nodeConfig" not in changed:
            return
        old, new = context.call.old_inputs.get("nodeConfig") or {}, context.call.inputs.get("nodeConfig") or {}
        different = {key for key in {*old, *new} if old.get(key) != new.get(key)}
        config = body.get("config", {})
        machine = different & {"machineType", "diskSizeGb", "diskType", "bootDisk"}
        if machine:
            request: Body = {}
            for key in ("machineType", "diskSizeGb", "diskType", "bootDisk"):
                if key in config:
                    request[key] = str(config[key]) if key == "diskSizeGb" else config[key]
            yield "machine", request
        for key in sorted(different - machine):
            if key not in _NODE_FIELDS:
                raise DoubleError(f"the double has not learnt to update nodeConfig.{key} of a node pool")
            field, wrapper = _NODE_FIELDS[key]
            value = config.get(field, [] if field in ("taints", "tags") else {})
            yield key, {field: {wrapper: value} if wrapper else value}

    def _do(self, context: Context, method: str, name: str, request: Body, what: str) -> None:
        with saying(f"Error updating NodePool ({what})"):
            finish(context, context.ask(method, {"name": name}, request), f"updating GKE node pool {what}")

    def delete(self, context: Context, identity: str, state: Props) -> None:
        with saying_but_gone("Error deleting NodePool"):
            finish(context, context.ask(f"{POOLS}.delete", {"name": identity}), "deleting GKE NodePool")


def _scaling(given: Body) -> Body:
    """All four counts are sent, whichever the program sets."""
    zeros = dict.fromkeys(("minNodeCount", "maxNodeCount", "totalMinNodeCount", "totalMaxNodeCount"), 0)
    return {"enabled": True, **zeros, **given}


_POOL_FIELDS: Final = {
    "version": ("version", "nodeVersion"),
    "nodeLocations": ("locations", "locations"),
    "upgradeSettings": ("upgradeSettings", "upgradeSettings"),
    "networkConfig": ("networkConfig", "nodeNetworkConfig"),
    "nodeDrainConfigs": ("nodeDrainConfig", "nodeDrainConfig"),
}
"""Properties of a pool that an update takes: the field in the body, and the update's."""
_NODE_FIELDS: Final = {
    "taints": ("taints", "taints"),
    "tags": ("tags", "tags"),
    "labels": ("labels", "labels"),
    "resourceLabels": ("resourceLabels", "labels"),
    "imageType": ("imageType", ""),
    "gcfsConfig": ("gcfsConfig", ""),
    "gvnic": ("gvnic", ""),
    "kubeletConfig": ("kubeletConfig", ""),
    "linuxNodeConfig": ("linuxNodeConfig", ""),
    "workloadMetadataConfig": ("workloadMetadataConfig", ""),
    "loggingVariant": ("loggingConfig", ""),
}

NODE_POOL: Final = PoolKind(
    token="gcp:container/nodePool:NodePool",
    api="container",
    schema="NodePool",
    methods=POOLS,
    name="",
    name_length=NAME_LENGTH,
    names={
        **node_names("nodeConfig"),
        **dict.fromkeys(("project", "location", "cluster", "namePrefix", *sorted(OF_THE_PLUGIN)), NEVER),
        "nodeConfig": "config",
        "nodeLocations": "locations",
        "maxPodsPerNode": "maxPodsConstraint.maxPodsPerNode",
        "networkConfig.podCidrOverprovisionConfig.disabled": "disable",
        "nodeDrainConfigs": "nodeDrainConfig",
    },
    replaces=(
        "name",
        "namePrefix",
        "cluster",
        "location",
        "project",
        "initialNodeCount",
        "maxPodsPerNode",
        "placementPolicy",
        "queuedProvisioning",
        "bestEffortProvisioning",
        "networkConfig.createPodRange",
        "networkConfig.podRange",
        "networkConfig.podIpv4CidrBlock",
        "networkConfig.additionalNodeNetworkConfigs",
        "networkConfig.additionalPodNetworkConfigs",
        "networkConfig.podCidrOverprovisionConfig",
        "networkConfig.subnetwork",
        *below("nodeConfig", NODE_REPLACES),
    ),
    choices={
        **{f"nodeConfig.{key}": value for key, value in NODE_CHOICES.items()},
        "autoscaling.locationPolicy": ("BALANCED", "ANY"),
        "upgradeSettings.strategy": ("SURGE", "BLUE_GREEN"),
    },
    computed=(
        "initialNodeCount",
        "instanceGroupUrls",
        "location",
        "managedInstanceGroupUrls",
        "management",
        "maxPodsPerNode",
        "namePrefix",
        "networkConfig",
        "nodeConfig",
        "nodeCount",
        "nodeLocations",
        "project",
        "upgradeSettings",
        "version",
    ),
    outputs={
        "nodeLocations": "locations",
        "instanceGroupUrls": "instanceGroupUrls",
        "managedInstanceGroupUrls": lambda body, _: [
            url.replace("instanceGroupManagers", "instanceGroups") for url in body["instanceGroupUrls"]
        ],
        "nodeCount": "initialNodeCount",
        "maxPodsPerNode": lambda body, _: pick(body, "maxPodsConstraint.maxPodsPerNode") or 110,
    },
)
