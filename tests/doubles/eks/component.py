"""`eks:index:Cluster`, as pulumi-eks 4 registers it (nodejs/eks/cluster/cluster.ts, addons/cni-addon.ts, servicerole.ts).

The children are registered by type token and not through pulumi_aws, whose import takes longer than all the rest.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pulumi
from pulumi.provider import ConstructResult, Provider
from pulumi.provider.server import ProviderServicer

from tests.doubles.eks.access import eks_kubeconfig

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.doubles.provider import World

_KNOWN: Final = frozenset(
    {
        "accessEntries",
        "authenticationMode",
        "clusterTags",
        "createInstanceRole",
        "createOidcProvider",
        "deletionProtection",
        "enabledClusterLogTypes",
        "encryptionConfigKeyArn",
        "endpointPrivateAccess",
        "endpointPublicAccess",
        "kubeProxyAddonOptions",
        "name",
        "providerCredentialOpts",
        "publicAccessCidrs",
        "skipDefaultNodeGroup",
        "skipDefaultSecurityGroups",
        "subnetIds",
        "tags",
        "upgradePolicy",
        "version",
        "vpcCniOptions",
        "vpcId",
    }
)
_OFF: Final = {"createOidcProvider": False, "createInstanceRole": False, "skipDefaultNodeGroup": True, "skipDefaultSecurityGroups": True}
"""What Triton Fleet switches off, and what this double therefore can't make."""
_CLUSTER_POLICY: Final = "policy/AmazonEKSClusterPolicy"
_CNI_ENVIRONMENT: Final = {
    "warmPrefixTarget": "WARM_PREFIX_TARGET",
    "enablePrefixDelegation": "ENABLE_PREFIX_DELEGATION",
    "logLevel": "AWS_VPC_K8S_CNI_LOGLEVEL",
    "warmIpTarget": "WARM_IP_TARGET",
}
_CNI_KNOWN: Final = frozenset(
    {*_CNI_ENVIRONMENT, "addonVersion", "warmEniTarget", "resolveConflictsOnCreate", "resolveConflictsOnUpdate", "enableNetworkPolicy"}
)


class _Child(pulumi.CustomResource):
    """A resource of the aws plugin, by its token; ``outputs`` are properties that are read from it."""

    def __init__(self, token: str, name: str, inputs: Mapping[str, Any], outputs: tuple[str, ...], opts: pulumi.ResourceOptions) -> None:
        super().__init__(token, name, {**dict.fromkeys(outputs), **inputs}, opts)

    def output(self, name: str) -> pulumi.Output[Any]:
        """A property."""
        found: pulumi.Output[Any] = getattr(self, name)
        return found


class ServiceRole(pulumi.ComponentResource):
    """The role that EKS acts by."""

    arn: pulumi.Output[str]
    attached: list[pulumi.Resource]

    def __init__(self, name: str, tags: Any, partition: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__("eks:index:ServiceRole", name, None, opts)
        trust = {"Action": ["sts:AssumeRole", "sts:TagSession"], "Effect": "Allow", "Principal": {"Service": ["eks.amazonaws.com"]}}
        role = _Child(
            "aws:iam/role:Role",
            f"{name}-role",
            {
                "description": "Allows EKS to manage clusters on your behalf.",
                "assumeRolePolicy": json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
                "tags": tags,
            },
            ("arn", "name"),
            pulumi.ResourceOptions(parent=self),
        )
        policy = f"arn:{partition}:iam::aws:{_CLUSTER_POLICY}"
        self.attached = [
            role,
            _Child(
                "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
                f"{name}-attachment",
                {"policyArn": policy, "role": role.output("name")},
                (),
                pulumi.ResourceOptions(parent=self),
            ),
        ]
        self.arn = role.output("arn")
        self.register_outputs({"role": self.arn})


class VpcCniAddon(pulumi.ComponentResource):
    """The add-on vpc-cni."""

    def __init__(self, name: str, cluster: pulumi.Output[str], options: Any, tags: Any, opts: pulumi.ResourceOptions) -> None:
        super().__init__("eks:index:VpcCniAddon", name, None, opts)
        known: pulumi.Output[dict[str, Any]] = pulumi.Output.from_input(options)
        _Child(
            "aws:eks/addon:Addon",
            name,
            {
                "clusterName": cluster,
                "addonName": "vpc-cni",
                "addonVersion": known.apply(lambda given: given["addonVersion"]),
                "resolveConflictsOnCreate": "OVERWRITE",
                "resolveConflictsOnUpdate": "OVERWRITE",
                "preserve": True,
                "configurationValues": known.apply(cni_configuration),
                "tags": tags,
            },
            (),
            pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})


class Cluster(pulumi.ComponentResource):
    """The component."""

    outputs: dict[str, Any]

    def __init__(self, name: str, inputs: Mapping[str, Any], folder: Path, opts: pulumi.ResourceOptions) -> None:
        super().__init__("eks:index:Cluster", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        tags = inputs.get("tags")
        region = "us-east-1"  # the ARNs of AWS' own policies name none
        role = ServiceRole(f"{name}-eksRole", tags, "aws", child)
        key = inputs.get("encryptionConfigKeyArn")
        cluster = _Child(
            "aws:eks/cluster:Cluster",
            f"{name}-eksCluster",
            {
                "name": inputs.get("name"),
                "roleArn": role.arn,
                "bootstrapSelfManagedAddons": True,
                "vpcConfig": {
                    "subnetIds": inputs["subnetIds"],
                    "endpointPrivateAccess": inputs.get("endpointPrivateAccess"),
                    "endpointPublicAccess": inputs.get("endpointPublicAccess"),
                    "publicAccessCidrs": inputs.get("publicAccessCidrs"),
                },
                "version": inputs.get("version"),
                "enabledClusterLogTypes": inputs.get("enabledClusterLogTypes"),
                "tags": pulumi.Output.all(tags, inputs.get("clusterTags")).apply(
                    lambda known: {"Name": f"{name}-eksCluster", **(known[1] or {}), **(known[0] or {})}
                ),
                "encryptionConfig": None if key is None else {"provider": {"keyArn": key}, "resources": ["secrets"]},
                "accessConfig": {
                    "authenticationMode": inputs["authenticationMode"],
                    "bootstrapClusterCreatorAdminPermissions": True,
                },
                "upgradePolicy": inputs.get("upgradePolicy"),
                "deletionProtection": inputs.get("deletionProtection"),
            },
            ("arn", "endpoint", "identities", "certificateAuthority"),
            pulumi.ResourceOptions(
                parent=self,
                depends_on=role.attached,
                ignore_changes=["accessConfig.bootstrapClusterCreatorAdminPermissions", "bootstrapSelfManagedAddons"],
            ),
        )
        cluster_name = cluster.output("name")
        _Child(
            "aws:eks/addon:Addon",
            f"{name}-kube-proxy",
            {
                "clusterName": cluster_name,
                "addonName": "kube-proxy",
                "addonVersion": pulumi.Output.from_input(inputs["kubeProxyAddonOptions"]).apply(lambda given: given["version"]),
                "preserve": True,
                "resolveConflictsOnCreate": "OVERWRITE",
                "resolveConflictsOnUpdate": "OVERWRITE",
                "tags": tags,
            },
            (),
            child,
        )
        VpcCniAddon(f"{name}-vpc-cni", cluster_name, inputs.get("vpcCniOptions") or {}, tags, child)
        self._access(name, cluster_name, inputs.get("accessEntries") or {})

        def kubeconfig(known: list[Any]) -> dict[str, Any]:
            # The ARN has the region: arn:aws:eks:REGION:ACCOUNT:cluster/NAME. It is known when the cluster is there, and so is all of this.
            return eks_kubeconfig(folder, name=known[0], region=str(known[1]).split(":")[3] or region)

        config = pulumi.Output.all(cluster_name, cluster.output("arn"), cluster.output("endpoint")).apply(kubeconfig)
        issuer = cluster.output("identities").apply(lambda known: str(known[0]["oidcs"][0]["issuer"]))
        group = cluster.output("vpcConfig").apply(lambda known: str(known["clusterSecurityGroupId"]))
        self.outputs = {
            "kubeconfig": config,
            "kubeconfigJson": config.apply(json.dumps),
            "oidcProviderArn": "",
            "oidcProviderUrl": issuer,
            "oidcIssuer": issuer.apply(lambda url: url.removeprefix("https://")),
            "clusterSecurityGroupId": group,
            "nodeSecurityGroupId": group,
            "eksCluster": cluster,
            "core": {
                "cluster": cluster,
                "vpcId": inputs.get("vpcId"),
                "subnetIds": inputs["subnetIds"],
                "endpoint": cluster.output("endpoint"),
            },
        }
        self.register_outputs(self.outputs)

    def _access(self, name: str, cluster: pulumi.Output[str], entries: Mapping[str, Any]) -> None:
        for key, entry in entries.items():
            principal = entry["principalArn"]
            made = _Child(
                "aws:eks/accessEntry:AccessEntry",
                f"{name}-{key}",
                {"clusterName": cluster, "principalArn": principal, "type": entry.get("type"), "tags": entry.get("tags")},
                (),
                pulumi.ResourceOptions(parent=self),
            )
            for policy, association in (entry.get("accessPolicies") or {}).items():
                _Child(
                    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
                    f"{name}-{key}-{policy}",
                    {
                        "clusterName": cluster,
                        "principalArn": principal,
                        "policyArn": association["policyArn"],
                        "accessScope": association["accessScope"],
                    },
                    (),
                    pulumi.ResourceOptions(parent=made, depends_on=[made]),
                )


def cni_configuration(options: Mapping[str, Any]) -> str:
    """The add-on's configuration. Raises ValueError for an option that is unknown here."""
    if unknown := {key for key, value in options.items() if value is not None} - _CNI_KNOWN:
        message = f"the double of eks knows no vpcCniOptions.{', '.join(sorted(unknown))}"
        raise ValueError(message)
    environment = {"WARM_ENI_TARGET": str(int(options.get("warmEniTarget") or 1))}
    environment |= {variable: _text(options[key]) for key, variable in _CNI_ENVIRONMENT.items() if options.get(key)}
    policies = {"enableNetworkPolicy": "true"} if options.get("enableNetworkPolicy") else {}
    return json.dumps({"env": environment, **policies}, sort_keys=True)


def check(inputs: Mapping[str, Any]) -> None:
    """Refuse what the real component refuses, and what this one does not know. Raises ValueError."""
    given = {key for key, value in inputs.items() if value is not None}
    if unknown := given - _KNOWN:
        message = f"the double of eks knows no {', '.join(sorted(unknown))}: write it where the real component has it"
        raise ValueError(message)
    for key, value in _OFF.items():
        if inputs.get(key) is not value:
            message = f"{key} is {inputs.get(key)!r}: the double of eks makes no part of what that asks for"
            raise ValueError(message)
    if inputs.get("authenticationMode") != "API":
        message = f"authenticationMode is {inputs.get('authenticationMode')!r}: the double of eks knows API only"
        raise ValueError(message)
    if inputs.get("publicAccessCidrs") and inputs.get("endpointPublicAccess") is False:
        message = "`publicAccessCidrs` can only be set when `endpointPublicAccess` is true"
        raise ValueError(message)
    if "providerCredentialOpts" not in given:
        message = "It is required to set `providerCredentialOpts` when a provider of one's own is given"
        raise ValueError(message)


class _Provider(Provider):
    def __init__(self, world: World) -> None:
        super().__init__("4.4.0")
        self._world = world

    def construct(
        self, name: str, resource_type: str, inputs: Mapping[str, Any], options: pulumi.ResourceOptions | None = None
    ) -> ConstructResult:
        if resource_type != "eks:index:Cluster":
            message = f"the double of eks makes no {resource_type}"
            raise ValueError(message)
        check(inputs)
        cluster = Cluster(name, inputs, self._world.folder, options or pulumi.ResourceOptions())
        return ConstructResult(urn=cluster.urn, state=cluster.outputs)


def servicer(world: World, engine_address: str) -> Any:
    """What answers Construct."""
    return ProviderServicer(_Provider(world), [], engine_address=engine_address)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) else str(value)
