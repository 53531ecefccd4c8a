"""GKE's types: clusters and node pools, each change by the method that the provider takes for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.doubles.gcp.api import document
from tests.doubles.gcp.compute import is_zone, network_name, region_of, subnetwork_name
from tests.doubles.gcp.expand import NEVER, expand, pick
from tests.doubles.gcp.kinds import Context, Kind, refused, saying, saying_but_gone
from tests.doubles.gcp.memory import GoogleError
from tests.doubles.provider import DoubleError, InitFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.doubles.gcp.api import Body
    from tests.doubles.provider import Props

_CLUSTERS: Final = "container.projects.locations.clusters"
_POOLS: Final = f"{_CLUSTERS}.nodePools"

_SCOPE_ALIASES: Final = {"cloud-platform": "https://www.googleapis.com/auth/cloud-platform"}


def _nodes(path: str) -> dict[str, str]:
    """Names of a node configuration at a path."""
    return {
        f"{path}.{key}": target
        for key, target in {
            "guestAccelerators": "accelerators",
            "guestAccelerators.count": "acceleratorCount",
            "guestAccelerators.type": "acceleratorType",
            "loggingVariant": "loggingConfig.variantConfig.variant",
            "gpudirectStrategy": "gpuDirectConfig.gpuDirectStrategy",
            "resourceManagerTags": "resourceManagerTags.tags",
            "linuxNodeConfig.hugepagesConfig": "hugepages",
            "effectiveTaints": NEVER,
            "windowsNodeConfig.osversion": "osVersion",
        }.items()
    }


_NODE_CHOICES: Final = {
    "guestAccelerators.gpuDriverInstallationConfig.gpuDriverVersion": (
        "GPU_DRIVER_VERSION_UNSPECIFIED",
        "INSTALLATION_DISABLED",
        "DEFAULT",
        "LATEST",
    ),
    "taints.effect": ("NO_SCHEDULE", "PREFER_NO_SCHEDULE", "NO_EXECUTE"),
    "workloadMetadataConfig.mode": ("MODE_UNSPECIFIED", "GCE_METADATA", "GKE_METADATA"),
    "reservationAffinity.consumeReservationType": (
        "UNSPECIFIED",
        "NO_RESERVATION",
        "ANY_RESERVATION",
        "SPECIFIC_RESERVATION",
        "ANY_RESERVATION_THEN_FAIL",
    ),
    "localSsdEncryptionMode": ("STANDARD_ENCRYPTION", "EPHEMERAL_KEY_ENCRYPTION"),
}
_NODE_REPLACES: Final = (
    "guestAccelerators",
    "localSsdCount",
    "ephemeralStorageConfig",
    "ephemeralStorageLocalSsdConfig",
    "localNvmeSsdBlockConfig",
    "secondaryBootDisks",
    "metadata",
    "minCpuPlatform",
    "oauthScopes",
    "preemptible",
    "reservationAffinity",
    "spot",
    "serviceAccount",
    "shieldedInstanceConfig",
    "sandboxConfig",
    "bootDiskKmsKey",
    "nodeGroup",
    "advancedMachineFeatures",
    "soleTenantConfig",
    "hostMaintenancePolicy",
    "confidentialNodes.confidentialInstanceType",
    "enableConfidentialStorage",
    "localSsdEncryptionMode",
    "maxRunDuration",
    "flexStart",
)


def _below(path: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{path}.{name}" for name in names)


def _finish(context: Context, operation: Body, what: str) -> None:
    refused(context.finish(operation["name"]), what)


def _sent_nodes(config: Any) -> Any:
    """A node configuration as it is sent: of several secondary boot disks the provider sends the first alone."""
    if isinstance(config, dict) and len(config.get("secondaryBootDisks") or []) > 1:
        return {**config, "secondaryBootDisks": config["secondaryBootDisks"][:1]}
    return config


_NO_STOCK: Final = (
    "Google Compute Engine: The zone does not have enough resources available to fulfill the request. "
    "Try a different zone, or try again later. (ZONE_RESOURCE_POOL_EXHAUSTED)"
)


def _doom(context: Context, identity: str, message: str) -> None:
    """Let what is about to be made turn out broken, where a fault wants it."""
    broken = context.call.broken
    if broken is not None:
        context.google.doom(identity, broken.message or message, broken.delay)


# --- clusters


@dataclass(frozen=True, kw_only=True)
class ClusterKind(Kind):
    """A cluster."""

    def problems(self, inputs: Props) -> Iterator[tuple[str, str]]:
        policy = inputs.get("ipAllocationPolicy")
        if isinstance(policy, dict):
            for kind in ("cluster", "services"):
                if policy.get(f"{kind}SecondaryRangeName") and policy.get(f"{kind}Ipv4CidrBlock"):
                    yield f"ipAllocationPolicy.{kind}SecondaryRangeName", f"conflicts with ipAllocationPolicy.{kind}Ipv4CidrBlock"
        name = inputs.get("name")
        if isinstance(name, str) and len(name) > _NAME_LENGTH:
            yield "name", f'"name" cannot be longer than {_NAME_LENGTH} characters'
        block = (
            (inputs.get("privateClusterConfig") or {}).get("masterIpv4CidrBlock")
            if isinstance(inputs.get("privateClusterConfig"), dict)
            else None
        )
        if isinstance(block, str) and block and not block.endswith("/28"):
            yield (
                "privateClusterConfig.masterIpv4CidrBlock",
                f"expected {block!r} to contain a network Value with between 28 and 28 significant bits",
            )
        if inputs.get("enableAutopilot"):
            yield "enableAutopilot", "the double knows no Autopilot clusters"
        if inputs.get("nodePools"):
            yield "nodePools", "the double knows no pools inside a cluster; use gcp.container.NodePool"
        policy = inputs.get("maintenancePolicy")
        if isinstance(policy, dict) and sum(policy.get(key) is not None for key in ("dailyMaintenanceWindow", "recurringWindow")) > 1:
            yield "maintenancePolicy", "only one of dailyMaintenanceWindow, recurringWindow can be specified"

    def identity(self, context: Context, inputs: Props) -> str:
        place = context.place(inputs)
        if "location" not in place:
            raise DoubleError("location: required field is not set")
        return self.name.format_map({**inputs, **place})

    def body(self, inputs: Props) -> Body:
        given = {key: value for key, value in inputs.items() if value is not None}
        for key in _PIECES:
            given.pop(key, None)
        given["nodeConfig"] = _sent_nodes(given.get("nodeConfig") or {})
        body = super().body({**given, "resourceLabels": inputs.get("resourceLabels")})
        body["controlPlaneEndpointsConfig"] = endpoints(inputs)
        private = inputs.get("privateClusterConfig") or {}
        body["networkConfig"] = {**body.get("networkConfig", {}), "defaultEnablePrivateNodes": bool(private.get("enablePrivateNodes"))}
        if private.get("masterIpv4CidrBlock"):
            body["privateClusterConfig"] = {
                "masterIpv4CidrBlock": private["masterIpv4CidrBlock"],
                "enablePrivateNodes": bool(private.get("enablePrivateNodes")),
            }
        if inputs.get("maintenancePolicy"):
            body["maintenancePolicy"] = maintenance(inputs["maintenancePolicy"])
        if inputs.get("ipAllocationPolicy") is not None:
            body["ipAllocationPolicy"] = {
                **body.get("ipAllocationPolicy", {}),
                "useIpAliases": inputs.get("networkingMode", "VPC_NATIVE") == "VPC_NATIVE",
                "useRoutes": inputs.get("networkingMode") == "ROUTES",
            }
        body.setdefault("initialNodeCount", 0)
        return body

    def create(self, context: Context, inputs: Props) -> tuple[str, Body]:
        place = context.place(inputs)
        identity = self.identity(context, inputs)
        body = self.body(inputs)
        location, project = place["location"], place["project"]
        if "network" in body:
            body["network"] = network_name(project, body["network"])
        if "subnetwork" in body:
            body["subnetwork"] = subnetwork_name(project, region_of(location), body["subnetwork"])
        if body.get("locations"):
            if location in body["locations"]:
                raise DoubleError("when using a multi-zonal cluster, node_locations should not contain the original 'zone'")
            if is_zone(location):
                body["locations"] = [*body["locations"], location]
        _doom(context, identity, "Google Compute Engine: internal error")
        with saying("Error creating Cluster"):
            operation = context.ask(f"{_CLUSTERS}.create", {"parent": identity.rpartition("/clusters/")[0]}, {"cluster": body})
        error = context.finish(operation["name"])
        made = self.get(context, identity, inputs)
        if error:
            raise InitFailed(
                f"Error waiting for creating GKE cluster: {error['message']}",
                resource_id=identity,
                state=self.state(inputs, made, (), place),
            )
        if inputs.get("removeDefaultNodePool"):
            with saying("Error deleting default node pool"):
                operation = context.ask(f"{_POOLS}.delete", {"name": f"{identity}/nodePools/default-pool"})
                _finish(context, operation, "removing default node pool")
        return identity, self.get(context, identity, inputs)

    def get(self, context: Context, identity: str, inputs: Props) -> Body:
        return context.ask(f"{_CLUSTERS}.get", {"name": identity})

    def update(self, context: Context, identity: str, inputs: Props, changed: set[str]) -> None:
        left = set(changed)
        body = self.body(inputs)
        for properties, make in _CHANGES:
            if left & properties:
                left -= properties
                for key, value in make(body, inputs, context).items():
                    with saying(f"Error updating Cluster ({key})"):
                        operation = context.ask(f"{_CLUSTERS}.update", {"name": identity}, {"update": {key: value}})
                        _finish(context, operation, f"updating GKE cluster {key}")
        if "resourceLabels" in left:
            left.remove("resourceLabels")
            known = self.get(context, identity, inputs)
            request = {"resourceLabels": body["resourceLabels"], "labelFingerprint": known["labelFingerprint"]}
            with saying("Error updating labels"):
                _finish(context, context.ask(f"{_CLUSTERS}.setResourceLabels", {"name": identity}, request), "updating labels")
        if "maintenancePolicy" in left:
            left.remove("maintenancePolicy")
            request = {"maintenancePolicy": body.get("maintenancePolicy", {"window": {}})}
            with saying("Error updating maintenance policy"):
                _finish(
                    context, context.ask(f"{_CLUSTERS}.setMaintenancePolicy", {"name": identity}, request), "updating maintenance policy"
                )
        left -= _OF_THE_PLUGIN
        if left:
            raise DoubleError(f"the double has not learnt to update {', '.join(sorted(left))} of a cluster")

    def delete(self, context: Context, identity: str, state: Props) -> None:
        if state.get("deletionProtection", True) is not False:
            raise DoubleError(
                "Cannot destroy cluster because deletion_protection is set to true. Set it to false to proceed with cluster deletion."
            )
        with saying_but_gone("Error deleting Cluster"):
            _finish(context, context.ask(f"{_CLUSTERS}.delete", {"name": identity}), "deleting GKE cluster")


_NAME_LENGTH: Final = 40
_PIECES: Final = (
    "controlPlaneEndpointsConfig",
    "privateClusterConfig",
    "masterAuthorizedNetworksConfig",
    "maintenancePolicy",
    "masterAuth",
)
"""Properties that do not map one by one."""
_OF_THE_PLUGIN: Final = {"deletionProtection", "deletionPolicy", "removeDefaultNodePool", "skipNodePoolRefresh", "ignoreNodeCountChanges"}


def endpoints(inputs: Props) -> Body:
    """How the control plane is reached: Google has it in one place, the SDK in three."""
    api = document("container")
    given = inputs.get("controlPlaneEndpointsConfig") or {}
    dns = {
        key: bool((given.get("dnsEndpointConfig") or {}).get(key))
        for key in ("allowExternalTraffic", "enableK8sTokensViaDns", "enableK8sCertsViaDns")
    }
    address = given.get("ipEndpointsConfig")
    enabled = True if address is None else bool(address.get("enabled"))
    if not enabled:
        return {"dnsEndpointConfig": dns, "ipEndpointsConfig": {"enabled": False}}
    private = inputs.get("privateClusterConfig") or {}
    networks = inputs.get("masterAuthorizedNetworksConfig")
    described = api.schema("MasterAuthorizedNetworksConfig")
    authorized = {"enabled": networks is not None, **(expand(api, described, networks, {}) if networks else {})}
    made: Body = {
        "enabled": True,
        "enablePublicEndpoint": not private.get("enablePrivateEndpoint"),
        "globalAccess": bool((private.get("masterGlobalAccessConfig") or {}).get("enabled")),
        "authorizedNetworksConfig": authorized,
    }
    if private.get("privateEndpointSubnetwork"):
        made["privateEndpointSubnetwork"] = private["privateEndpointSubnetwork"]
    return {"dnsEndpointConfig": dns, "ipEndpointsConfig": made}


def maintenance(policy: Mapping[str, Any]) -> Body:
    """When GKE may upgrade."""
    window: Body = {"maintenanceExclusions": {}}
    for item in policy.get("maintenanceExclusions") or []:
        exclusion = {"startTime": item["startTime"]}
        options = item.get("exclusionOptions")
        if options:
            exclusion["maintenanceExclusionOptions"] = {key: value for key, value in options.items() if value is not None}
        if item.get("endTime") and not (options or {}).get("endTimeBehavior"):
            exclusion["endTime"] = item["endTime"]
        window["maintenanceExclusions"][item["exclusionName"]] = exclusion
    if policy.get("dailyMaintenanceWindow"):
        window["dailyMaintenanceWindow"] = {"startTime": policy["dailyMaintenanceWindow"]["startTime"]}
    recurring = policy.get("recurringWindow")
    if recurring:
        inner = {"startTime": recurring["startTime"], "endTime": recurring["endTime"]}
        window["recurringWindow"] = {"window": inner, "recurrence": recurring["recurrence"]}
    if policy.get("recurringMaintenanceWindow"):
        raise DoubleError("the double has not learnt recurringMaintenanceWindow")
    return {"window": window}


Change = "Callable[[Body, Props, Context], Body]"


def _whole(field: str, key: str) -> tuple[set[str], Callable[[Body, Props, Context], Body]]:
    """A property that is a field of the body, and a wish of an update."""
    return {field}, lambda body, _, __: {key: body.get(_FIELDS.get(field, field), {})}


_FIELDS: Final = {"enableShieldedNodes": "shieldedNodes", "clusterAutoscaling": "autoscaling"}


def _locations(body: Body, inputs: Props, context: Context) -> Body:
    zones = list(body.get("locations", []))
    location = context.place(inputs)["location"]
    return {"desiredLocations": [*zones, location] if is_zone(location) else zones}


def _endpoints_wish(body: Body, inputs: Props, _: Context) -> Body:
    wishes: Body = {"desiredControlPlaneEndpointsConfig": body["controlPlaneEndpointsConfig"]}
    del inputs
    return wishes


def _version(body: Body, inputs: Props, context: Context) -> Body:
    """A control plane that is at the version asked for, or at a newer one of its channel, is left alone."""
    wanted = str(inputs.get("minMasterVersion") or "")
    known = context.ask(f"{_CLUSTERS}.get", {"name": context.call.id})["currentMasterVersion"]
    del body
    return {} if not wanted or known == wanted or known.startswith((f"{wanted}.", f"{wanted}-")) else {"desiredMasterVersion": wanted}


def _network(path: str, key: str, field: str) -> tuple[set[str], Callable[[Body, Props, Context], Body]]:
    return {path}, lambda body, _, __: {key: body["networkConfig"].get(field, {})}


_CHANGES: Final[tuple[tuple[set[str], Callable[[Body, Props, Context], Body]], ...]] = (
    ({"controlPlaneEndpointsConfig", "masterAuthorizedNetworksConfig", "privateClusterConfig"}, _endpoints_wish),
    _whole("addonsConfig", "desiredAddonsConfig"),
    _whole("clusterAutoscaling", "desiredClusterAutoscaling"),
    _whole("enableShieldedNodes", "desiredShieldedNodes"),
    _whole("releaseChannel", "desiredReleaseChannel"),
    _whole("costManagementConfig", "desiredCostManagementConfig"),
    _whole("authenticatorGroupsConfig", "desiredAuthenticatorGroupsConfig"),
    _whole("databaseEncryption", "desiredDatabaseEncryption"),
    _whole("workloadIdentityConfig", "desiredWorkloadIdentityConfig"),
    _whole("loggingConfig", "desiredLoggingConfig"),
    _whole("monitoringConfig", "desiredMonitoringConfig"),
    _whole("verticalPodAutoscaling", "desiredVerticalPodAutoscaling"),
    _whole("securityPostureConfig", "desiredSecurityPostureConfig"),
    _network("dnsConfig", "desiredDnsConfig", "dnsConfig"),
    _network("gatewayApiConfig", "desiredGatewayApiConfig", "gatewayApiConfig"),
    _network("enableFqdnNetworkPolicy", "desiredEnableFqdnNetworkPolicy", "enableFqdnNetworkPolicy"),
    ({"nodeLocations"}, _locations),
    ({"minMasterVersion"}, _version),
)

CLUSTER: Final = ClusterKind(
    token="gcp:container/cluster:Cluster",
    api="container",
    schema="Cluster",
    methods=_CLUSTERS,
    name="projects/{project}/locations/{location}/clusters/{name}",
    name_length=_NAME_LENGTH,
    names={
        **_nodes("nodeConfig"),
        **dict.fromkeys(("project", "location", *sorted(_OF_THE_PLUGIN)), NEVER),
        "networkingMode": NEVER,
        "nodeLocations": "locations",
        "minMasterVersion": "initialClusterVersion",
        "enableShieldedNodes": "shieldedNodes.enabled",
        "enableLegacyAbac": "legacyAbac.enabled",
        "enableAutopilot": "autopilot.enabled",
        "defaultMaxPodsPerNode": "defaultMaxPodsConstraint.maxPodsPerNode",
        "clusterAutoscaling": "autoscaling",
        "clusterAutoscaling.enabled": "enableNodeAutoprovisioning",
        "clusterAutoscaling.autoProvisioningDefaults.diskSize": "diskSizeGb",
        "clusterAutoscaling.defaultComputeClassEnabled": "defaultComputeClassConfig.enabled",
        "clusterAutoscaling.autoProvisioningDefaults": "autoprovisioningNodePoolDefaults",
        "clusterAutoscaling.autoProvisioningLocations": "autoprovisioningLocations",
        "datapathProvider": "networkConfig.datapathProvider",
        "dnsConfig": "networkConfig.dnsConfig",
        "gatewayApiConfig": "networkConfig.gatewayApiConfig",
        "defaultSnatStatus": "networkConfig.defaultSnatStatus",
        "enableIntranodeVisibility": "networkConfig.enableIntraNodeVisibility",
        "enableL4IlbSubsetting": "networkConfig.enableL4ilbSubsetting",
        "enableFqdnNetworkPolicy": "networkConfig.enableFqdnNetworkPolicy",
        "enableCiliumClusterwideNetworkPolicy": "networkConfig.enableCiliumClusterwideNetworkPolicy",
        "enableMultiNetworking": "networkConfig.enableMultiNetworking",
        "loggingConfig.enableComponents": "componentConfig.enableComponents",
        "monitoringConfig.enableComponents": "componentConfig.enableComponents",
        "monitoringConfig.managedPrometheus": "managedPrometheusConfig",
        "addonsConfig.cloudrunConfig": "cloudRunConfig",
        "nodePoolDefaults.nodeConfigDefaults.insecureKubeletReadonlyPortEnabled": "nodeKubeletConfig.insecureKubeletReadonlyPortEnabled",
        "nodePoolDefaults.nodeConfigDefaults.loggingVariant": "loggingConfig.variantConfig.variant",
        "ipAllocationPolicy.podCidrOverprovisionConfig.disabled": "disable",
        "resourceUsageExportConfig.enableResourceConsumptionMetering": "consumptionMeteringConfig.enabled",
    },
    replaces=(
        "name",
        "location",
        "project",
        "network",
        "subnetwork",
        "networkingMode",
        "ipAllocationPolicy.clusterIpv4CidrBlock",
        "ipAllocationPolicy.servicesIpv4CidrBlock",
        "ipAllocationPolicy.clusterSecondaryRangeName",
        "ipAllocationPolicy.servicesSecondaryRangeName",
        "ipAllocationPolicy.podCidrOverprovisionConfig",
        "privateClusterConfig.masterIpv4CidrBlock",
        "privateClusterConfig.privateEndpointSubnetwork",
        "clusterIpv4Cidr",
        "description",
        "enableKubernetesAlpha",
        "enableTpu",
        "enableAutopilot",
        "initialNodeCount",
        "confidentialNodes",
        "masterAuth.clientCertificateConfig",
        "nodePools",
        "defaultMaxPodsPerNode",
        "datapathProvider",
        "dataplaneOptimizationMode",
        *_below("nodeConfig", _NODE_REPLACES),
    ),
    defaults={"enableShieldedNodes": True, "network": "default", "deletionProtection": True, "enableLegacyAbac": False},
    choices={
        **{f"nodeConfig.{key}": value for key, value in _NODE_CHOICES.items()},
        "releaseChannel.channel": ("UNSPECIFIED", "RAPID", "REGULAR", "STABLE", "EXTENDED"),
        "datapathProvider": ("DATAPATH_PROVIDER_UNSPECIFIED", "LEGACY_DATAPATH", "ADVANCED_DATAPATH"),
        "networkingMode": ("VPC_NATIVE", "ROUTES"),
        "databaseEncryption.state": ("ENCRYPTED", "ALL_OBJECTS_ENCRYPTION_ENABLED", "DECRYPTED"),
        "gatewayApiConfig.channel": ("CHANNEL_DISABLED", "CHANNEL_EXPERIMENTAL", "CHANNEL_STANDARD"),
        "clusterAutoscaling.autoscalingProfile": ("BALANCED", "OPTIMIZE_UTILIZATION"),
        "networkPolicy.provider": ("PROVIDER_UNSPECIFIED", "CALICO"),
        "dnsConfig.clusterDns": ("PROVIDER_UNSPECIFIED", "PLATFORM_DEFAULT", "CLOUD_DNS", "KUBE_DNS"),
        "maintenancePolicy.maintenanceExclusions.exclusionOptions.scope": ("NO_UPGRADES", "NO_MINOR_UPGRADES", "NO_MINOR_OR_NODE_UPGRADES"),
        "monitoringConfig.managedPrometheus.autoMonitoringConfig.scope": ("ALL", "NONE"),
    },
    computed=(
        "addonsConfig",
        "clusterIpv4Cidr",
        "controlPlaneEndpointsConfig",
        "databaseEncryption",
        "datapathProvider",
        "defaultMaxPodsPerNode",
        "ipAllocationPolicy",
        "location",
        "loggingConfig",
        "loggingService",
        "masterAuth",
        "monitoringConfig",
        "monitoringService",
        "nodeConfig",
        "nodeLocations",
        "nodePools",
        "nodeVersion",
        "privateClusterConfig",
        "project",
        "releaseChannel",
        "subnetwork",
    ),
    nested=(
        "controlPlaneEndpointsConfig.dnsEndpointConfig.endpoint",
        "privateClusterConfig.privateEndpoint",
        "privateClusterConfig.publicEndpoint",
        "privateClusterConfig.peeringName",
        "masterAuth.clusterCaCertificate",
        "masterAuth.clientCertificate",
        "masterAuth.clientKey",
    ),
    outputs={
        "masterVersion": "currentMasterVersion",
        "nodeVersion": "currentMasterVersion",
        "nodeLocations": lambda body, inputs: [zone for zone in body["locations"] if zone != inputs.get("location")],
        "servicesIpv4Cidr": "ipAllocationPolicy.servicesIpv4Cidr",
        "clusterIpv4Cidr": "ipAllocationPolicy.clusterIpv4Cidr",
        "ipAllocationPolicy": "ipAllocationPolicy",
        "network": "networkConfig.network",
        "subnetwork": "networkConfig.subnetwork",
    },
    labels="resourceLabels",
)


# --- node pools


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
            given["nodeConfig"] = _sent_nodes(given["nodeConfig"])
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
        _doom(context, identity, _NO_STOCK)
        with saying("error creating NodePool"):
            operation = context.ask(f"{_POOLS}.create", {"parent": parent}, {"nodePool": self.body(inputs)})
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
        return context.ask(f"{_POOLS}.get", {"name": identity})

    def update(self, context: Context, identity: str, inputs: Props, changed: set[str]) -> None:
        body = self.body(inputs)
        cluster, _, name = identity.rpartition("/nodePools/")
        left = set(changed) - _OF_THE_PLUGIN
        if "autoscaling" in left:
            wish = {"desiredNodePoolAutoscaling": body.get("autoscaling", {"enabled": False}), "desiredNodePoolId": name}
            self._do(context, f"{_CLUSTERS}.update", cluster, {"update": wish}, "autoscaling")
        if "management" in left:
            wish = {"management": body.get("management", {"autoRepair": False, "autoUpgrade": False})}
            self._do(context, f"{_POOLS}.setManagement", identity, wish, "management")
        if "nodeCount" in left:
            self._do(context, f"{_POOLS}.setSize", identity, {"nodeCount": int(inputs["nodeCount"])}, "size")
        for key, request in self._requests(context, left, body):
            self._do(context, f"{_POOLS}.update", identity, request, key)
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
            _finish(context, context.ask(method, {"name": name}, request), f"updating GKE node pool {what}")

    def delete(self, context: Context, identity: str, state: Props) -> None:
        with saying_but_gone("Error deleting NodePool"):
            _finish(context, context.ask(f"{_POOLS}.delete", {"name": identity}), "deleting GKE NodePool")


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
    methods=_POOLS,
    name="",
    name_length=_NAME_LENGTH,
    names={
        **_nodes("nodeConfig"),
        **dict.fromkeys(("project", "location", "cluster", "namePrefix", *sorted(_OF_THE_PLUGIN)), NEVER),
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
        *_below("nodeConfig", _NODE_REPLACES),
    ),
    choices={
        **{f"nodeConfig.{key}": value for key, value in _NODE_CHOICES.items()},
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
KINDS: Final[tuple[Kind, ...]] = (CLUSTER, NODE_POOL)

__all__ = ["KINDS", "GoogleError"]
