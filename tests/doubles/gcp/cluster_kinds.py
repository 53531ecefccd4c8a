"""Clusters in the plugin: each change by the method that the provider takes for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.doubles.gcp.api import document
from tests.doubles.gcp.compute import is_zone, network_name, region_of, subnetwork_name
from tests.doubles.gcp.expand import NEVER, expand
from tests.doubles.gcp.kinds import Context, Kind, saying, saying_but_gone
from tests.doubles.gcp.node_kinds import (
    CLUSTERS,
    NAME_LENGTH,
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
    from collections.abc import Callable, Iterator, Mapping

    from tests.doubles.gcp.api import Body
from tests.doubles.provider import Props


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
        if isinstance(name, str) and len(name) > NAME_LENGTH:
            yield "name", f'"name" cannot be longer than {NAME_LENGTH} characters'
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
        given["nodeConfig"] = sent_nodes(given.get("nodeConfig") or {})
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
        doom(context, identity, "Google Compute Engine: internal error")
        with saying("Error creating Cluster"):
            operation = context.ask(f"{CLUSTERS}.create", {"parent": identity.rpartition("/clusters/")[0]}, {"cluster": body})
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
                operation = context.ask(f"{POOLS}.delete", {"name": f"{identity}/nodePools/default-pool"})
                finish(context, operation, "removing default node pool")
        return identity, self.get(context, identity, inputs)

    def get(self, context: Context, identity: str, inputs: Props) -> Body:
        return context.ask(f"{CLUSTERS}.get", {"name": identity})

    def update(self, context: Context, identity: str, inputs: Props, changed: set[str]) -> None:
        left = set(changed)
        body = self.body(inputs)
        for properties, make in _CHANGES:
            if left & properties:
                left -= properties
                for key, value in make(body, inputs, context).items():
                    with saying(f"Error updating Cluster ({key})"):
                        operation = context.ask(f"{CLUSTERS}.update", {"name": identity}, {"update": {key: value}})
                        finish(context, operation, f"updating GKE cluster {key}")
        if "resourceLabels" in left:
            left.remove("resourceLabels")
            known = self.get(context, identity, inputs)
            request = {"resourceLabels": body["resourceLabels"], "labelFingerprint": known["labelFingerprint"]}
            with saying("Error updating labels"):
                finish(context, context.ask(f"{CLUSTERS}.setResourceLabels", {"name": identity}, request), "updating labels")
        if "maintenancePolicy" in left:
            left.remove("maintenancePolicy")
            request = {"maintenancePolicy": body.get("maintenancePolicy", {"window": {}})}
            with saying("Error updating maintenance policy"):
                finish(context, context.ask(f"{CLUSTERS}.setMaintenancePolicy", {"name": identity}, request), "updating maintenance policy")
        left -= OF_THE_PLUGIN
        if left:
            raise DoubleError(f"the double has not learnt to update {', '.join(sorted(left))} of a cluster")

    def delete(self, context: Context, identity: str, state: Props) -> None:
        if state.get("deletionProtection", True) is not False:
            raise DoubleError(
                "Cannot destroy cluster because deletion_protection is set to true. Set it to false to proceed with cluster deletion."
            )
        with saying_but_gone("Error deleting Cluster"):
            finish(context, context.ask(f"{CLUSTERS}.delete", {"name": identity}), "deleting GKE cluster")


_PIECES: Final = (
    "controlPlaneEndpointsConfig",
    "privateClusterConfig",
    "masterAuthorizedNetworksConfig",
    "maintenancePolicy",
    "masterAuth",
)
"""Properties that do not map one by one."""


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
    known = context.ask(f"{CLUSTERS}.get", {"name": context.call.id})["currentMasterVersion"]
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
    methods=CLUSTERS,
    name="projects/{project}/locations/{location}/clusters/{name}",
    name_length=NAME_LENGTH,
    names={
        **node_names("nodeConfig"),
        **dict.fromkeys(("project", "location", *sorted(OF_THE_PLUGIN)), NEVER),
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
        *below("nodeConfig", NODE_REPLACES),
    ),
    defaults={"enableShieldedNodes": True, "network": "default", "deletionProtection": True, "enableLegacyAbac": False},
    choices={
        **{f"nodeConfig.{key}": value for key, value in NODE_CHOICES.items()},
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
