"""An EKS cluster: network, control plane, nodes, EKS' own add-ons, and the identities of what runs on it.

The order is what makes it come up: VPC and roles; the control plane with vpc-cni and kube-proxy; the node groups, all at once; then CoreDNS
and the EBS driver, which need a node without taint. The Kubernetes provider waits for all of it but the driver, so that everything made
through it has somewhere to run, and so that a destroy takes it all away while nodes and DNS still work. The driver takes longest of all and
serves only what claims volumes: that waits for it (``ClusterHandle.volumes``), and goes before it.

The control plane is pulumi-eks' component with its defaults off; the node groups are not (`nodegroups.py` says why). Its CoreDNS is never
switched on: it would be made before any node, and fail after 20 minutes. It makes no Kubernetes object but a default StorageClass.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import pulumi
import pulumi_aws as aws
import pulumi_eks as eks
import pulumi_kubernetes as k8s

from components.base import naming
from components.base.handles import AwsAccess, ClusterHandle, ImageRegistry
from components.base.naming import type_token
from components.base.outputs import after
from components.eks.iam import Statement, document, partition, pod_identity_trust, service_trust
from components.eks.identity import (
    Account,
    Identity,
    ServiceAccountRole,
    ServiceAccountRoleArgs,
    cluster_autoscaler,
    load_balancer_controller,
    volume_driver,
)
from components.eks.karpenter.access import KarpenterAccess, KarpenterAccessArgs
from components.eks.keys import Purpose, check_keys, check_scaling_role, key_policy, make_key
from components.eks.network import Vpc, VpcArgs, existing
from components.eks.node_groups import NodeGroup, NodeGroupArgs
from components.eks.plan import EBS_DRIVER, POD_IDENTITY, addon_plans, check_admins, gpu_pool, node_groups, node_policies, with_profile
from components.eks.registry import ImageRepository, ImageRepositoryArgs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.eks.network import Network
    from components.eks.settings.cluster import EksClusterSettings

_ADMIN_POLICY: Final = "cluster-access-policy/AmazonEKSClusterAdminPolicy"
_EBS_POLICY: Final = "service-role/AmazonEBSCSIDriverPolicy"
_EBS_ACCOUNT: Final = "ebs-csi-controller-sa"
STORAGE_CLASS: Final = "gp3"


@dataclass(frozen=True, kw_only=True)
class EksClusterArgs:
    """Arguments of `EksCluster`."""

    settings: EksClusterSettings
    autoscaler: Literal["none", "clusterAutoscaler", "karpenter"]
    """What is going to add and take nodes: it gets a role."""
    load_balancer: bool
    """Whether AWS Load Balancer Controller is going to be installed: it gets a role."""


class EksCluster(pulumi.ComponentResource):
    """A cluster of the stack's own. Raises FleetError where AWS shows the settings to be wrong, before anything is declared."""

    handle: ClusterHandle
    identity: Identity
    """What roles for service accounts are made of."""
    registry: ImageRegistry | None
    """The ECR repository, where one is made."""

    def __init__(self, name: str, args: EksClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings = args.settings
        self._settings = settings
        self._discovery = args.autoscaler == "karpenter"
        super().__init__(type_token("cluster", "EksCluster"), name, None, opts)
        self._tags = {**settings.tags, "triton-fleet/cluster": settings.name}
        self._aws = aws.Provider(name, region=settings.region, profile=settings.profile, opts=pulumi.ResourceOptions(parent=self))
        self._child = pulumi.ResourceOptions(parent=self, provider=self._aws)
        caller = aws.get_caller_identity(opts=pulumi.InvokeOptions(provider=self._aws))
        check_admins(settings.admins, caller.arn)
        account = self._account = Account(partition=partition(settings.region), region=settings.region, id=caller.account_id)
        check_keys(
            {
                "secretsKey": settings.secrets_key,
                "diskKey": settings.disk_key,
                "logsKey": settings.logs_key,
                "modelsKey": settings.models_key,
            },
            account,
            self._aws,
        )
        if settings.disk_key == "create":
            check_scaling_role(self._aws)

        network = self._network(name)
        plans = node_groups(settings, tuple(network.private))
        disk_key = self._key(name, "disks", settings.disk_key)
        control_plane = self._control_plane(name, network)
        role_arn = self._node_role(name)
        groups = {
            plan.name: NodeGroup(
                f"{name}-{plan.name}",
                NodeGroupArgs(
                    plan=plan,
                    cluster=settings.name,
                    version=settings.version,
                    vpc_id=network.vpc_id,
                    role_arn=role_arn,
                    security_group_id=control_plane.cluster_security_group_id,
                    subnet_ids=[subnet for zone in plan.zones for subnet in network.private[zone]],
                    disk_key=disk_key,
                    tags=self._tags,
                    provider=self._aws,
                    depends_on=[control_plane],
                ),
                pulumi.ResourceOptions(parent=self),
            )
            for plan in plans
        }
        addons = self._addons(name, control_plane, groups[plans[0].name], disk_key)
        driver = addons.pop(EBS_DRIVER)
        oidc = aws.iam.OpenIdConnectProvider(
            name, url=control_plane.oidc_provider_url, client_id_lists=["sts.amazonaws.com"], tags=self._tags, opts=self._child
        )
        self.identity = Identity(account=account, oidc_arn=oidc.arn, issuer=control_plane.oidc_issuer, provider=self._aws)
        provider = k8s.Provider(
            name,
            kubeconfig=control_plane.kubeconfig_json.apply(lambda text: with_profile(text, settings.profile)),
            # Fixed from the first day: a kubeconfig that is not known in a preview would else plan to replace all that is in the cluster.
            cluster_identifier=f"{settings.region}/{settings.name}",
            enable_server_side_apply=True,
            # Without the volumes' driver: what claims none has no use for it, neither to come nor to go.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*groups.values(), *addons.values()]),
        )
        storage = self._storage_class(provider, disk_key)
        ready = [*(group.ready for group in groups.values()), *(addon.arn for addon in addons.values())]
        self.registry = self._registry(name)
        karpenter = self._karpenter(name, control_plane, disk_key) if args.autoscaler == "karpenter" else None
        self.handle = ClusterHandle(
            name=after(pulumi.Output.from_input(settings.name), *ready),
            provider=provider,
            gpu_pools=tuple(gpu_pool(pool) for pool in settings.gpu_pools),
            volumes=after(pulumi.Output.from_input(STORAGE_CLASS), storage.id, driver.arn),
            aws=AwsAccess(
                region=pulumi.Output.from_input(settings.region),
                vpc_id=network.vpc_id,
                kubernetes_version=settings.version,
                autoscaler_role_arn=self._role(f"{name}-autoscaler", naming.AUTOSCALER_RELEASE, cluster_autoscaler(account, settings.name))
                if args.autoscaler == "clusterAutoscaler"
                else None,
                load_balancer_role_arn=self._role(
                    f"{name}-load-balancer", naming.LOAD_BALANCER_RELEASE, load_balancer_controller(account, settings.name)
                )
                if args.load_balancer
                else None,
                karpenter_role_arn=None if karpenter is None else karpenter.role_arn,
                karpenter_instance_profile=None if karpenter is None else karpenter.instance_profile,
                interruption_queue=None if karpenter is None else karpenter.queue,
                disk_key=None if disk_key is None else pulumi.Output.from_input(disk_key),
            ),
        )
        self.register_outputs({"name": settings.name})

    def _network(self, name: str) -> Network:
        settings = self._settings
        if settings.network.kind == "existing":
            return existing(settings.network, settings.name, self._aws, discovery=self._discovery)
        return Vpc(
            f"{name}-vpc",
            VpcArgs(settings=settings.network, cluster=settings.name, region=settings.region, provider=self._aws, tags=self._tags),
            pulumi.ResourceOptions(parent=self),
        ).network

    def _control_plane(self, name: str, network: Network) -> eks.Cluster:
        settings = self._settings
        # Made first, for its retention: EKS would make it and keep all for ever.
        logs = aws.cloudwatch.LogGroup(
            f"{name}-logs",
            name=self._log_group,
            retention_in_days=settings.log_retention_days,
            kms_key_id=self._key(name, "logs", settings.logs_key),
            tags=self._tags,
            opts=self._child,
        )
        scope = aws.eks.AccessPolicyAssociationAccessScopeArgs(type="cluster")
        policy = f"arn:{partition(settings.region)}:eks::aws:{_ADMIN_POLICY}"
        return eks.Cluster(
            name,
            name=settings.name,
            version=settings.version,
            vpc_id=network.vpc_id,
            subnet_ids=list(network.control_plane_ids),  # and no public ones: the component would put nodes into the union of both
            authentication_mode=cast("eks.AuthenticationMode", "API"),
            access_entries={
                f"admin-{index}": eks.AccessEntryArgs(
                    principal_arn=admin,
                    access_policies={"admin": eks.AccessPolicyAssociationArgs(policy_arn=policy, access_scope=scope)},
                )
                for index, admin in enumerate(settings.admins)
            },
            endpoint_private_access=settings.endpoint.private,
            endpoint_public_access=settings.endpoint.public,
            public_access_cidrs=list(settings.endpoint.public_cidrs) or None,
            encryption_config_key_arn=self._key(name, "secrets", None if settings.secrets_key == "none" else settings.secrets_key),
            deletion_protection=settings.deletion_protection,
            enabled_cluster_log_types=list(settings.logs),
            create_oidc_provider=False,  # the component's would ask the issuer for its certificate, in previews too
            skip_default_node_group=True,
            create_instance_role=False,
            skip_default_security_groups=True,
            upgrade_policy=aws.eks.ClusterUpgradePolicyArgs(support_type=settings.support.upper()),
            vpc_cni_options=eks.VpcCniOptionsArgs(
                addon_version=self._addon_version("vpc-cni"), enable_prefix_delegation=True, warm_prefix_target=1, log_level="INFO"
            ),
            kube_proxy_addon_options=eks.KubeProxyAddonOptionsArgs(version=self._addon_version("kube-proxy")),
            # Always, with a provider of one's own: the component fails without.
            provider_credential_opts=eks.KubeconfigOptionsArgs(profile_name=settings.profile),
            tags=self._tags,
            opts=pulumi.ResourceOptions(parent=self, providers=[self._aws], depends_on=[logs]),
        )

    @property
    def _log_group(self) -> str:
        return f"/aws/eks/{self._settings.name}/cluster"

    def _key(self, name: str, purpose: Purpose, setting: str | None) -> pulumi.Input[str] | None:
        """Give the key of a purpose: the one that is named, one of the stack's own for ``create``, or None for AWS' own."""
        if setting != "create":
            return setting
        return make_key(
            f"{name}-{purpose}",
            purpose,
            cluster=self._settings.name,
            policy=key_policy(purpose, self._account, self._log_group),
            tags=self._tags,
            opts=self._child,
        )

    @property
    def _ec2(self) -> str:
        """Service that takes the role of a node."""
        return "ec2.amazonaws.com.cn" if self._account.partition == "aws-cn" else "ec2.amazonaws.com"

    def _karpenter(self, name: str, control_plane: eks.Cluster, disk_key: pulumi.Input[str] | None) -> KarpenterAccess:
        return KarpenterAccess(
            f"{name}-karpenter",
            KarpenterAccessArgs(
                cluster=self._settings.name,
                identity=self.identity,
                node_policies=node_policies(self._settings),
                node_service=self._ec2,
                security_group_id=control_plane.cluster_security_group_id,
                disk_key=disk_key,
                tags=self._tags,
                depends_on=[control_plane],
            ),
            pulumi.ResourceOptions(parent=self),
        )

    def _node_role(self, name: str) -> pulumi.Output[str]:
        """Make the role of nodes. Its ARN waits for its policies: a node without them never joins."""
        role = aws.iam.Role(f"{name}-node", assume_role_policy=service_trust(self._ec2), tags=self._tags, opts=self._child)
        attachments = [
            aws.iam.RolePolicyAttachment(
                f"{name}-node-{policy}",
                role=role.name,
                policy_arn=f"arn:{partition(self._settings.region)}:iam::aws:policy/{policy}",
                opts=self._child,
            ).id
            for policy in node_policies(self._settings)
        ]
        return after(role.arn, *attachments)

    def _addons(
        self, name: str, control_plane: eks.Cluster, cpu: NodeGroup, disk_key: pulumi.Input[str] | None
    ) -> dict[str, aws.eks.Addon]:
        role = aws.iam.Role(f"{name}-ebs", assume_role_policy=pod_identity_trust(), tags=self._tags, opts=self._child)
        attachment = aws.iam.RolePolicyAttachment(
            f"{name}-ebs",
            role=role.name,
            policy_arn=f"arn:{partition(self._settings.region)}:iam::aws:policy/{_EBS_POLICY}",
            opts=self._child,
        )
        ready = [attachment.id]
        if disk_key is not None:
            text = pulumi.Output.from_input(disk_key).apply(lambda key: document(volume_driver(key)))
            policy = aws.iam.Policy(f"{name}-ebs-key", policy=text, tags=self._tags, opts=self._child)
            ready.append(aws.iam.RolePolicyAttachment(f"{name}-ebs-key", role=role.name, policy_arn=policy.arn, opts=self._child).id)
        identity = aws.eks.AddonPodIdentityAssociationArgs(role_arn=after(role.arn, *ready), service_account=_EBS_ACCOUNT)
        made: dict[str, aws.eks.Addon] = {}
        for plan in addon_plans():
            # Whoever gets an identity of a pod needs the agent that hands it out.
            before: list[pulumi.Resource] = [control_plane, *([cpu, made[POD_IDENTITY]] if plan.needs_nodes else [])]
            made[plan.name] = aws.eks.Addon(
                f"{name}-{plan.name}",
                cluster_name=self._settings.name,
                addon_name=plan.name,
                addon_version=self._addon_version(plan.name),
                resolve_conflicts_on_create="OVERWRITE",
                resolve_conflicts_on_update="PRESERVE",
                configuration_values=None if plan.configuration is None else json.dumps(plan.configuration, sort_keys=True),
                pod_identity_associations=[identity] if plan.name == EBS_DRIVER else None,
                tags=self._tags,
                opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=before)),
            )
        return made

    def _addon_version(self, addon: Any) -> pulumi.Input[str]:
        """Version of an add-on: the one that is written down, else EKS' default for the Kubernetes version."""
        pinned = self._settings.addon_versions.get(addon)
        if pinned is not None:
            return pinned
        return aws.eks.get_addon_version_output(
            addon_name=addon,
            kubernetes_version=self._settings.version,
            most_recent=False,
            opts=pulumi.InvokeOutputOptions(provider=self._aws),
        ).version

    def _role(self, name: str, account: str, statements: Sequence[Statement]) -> pulumi.Output[str]:
        """Make a role for a service account of kube-system."""
        return ServiceAccountRole(
            name,
            ServiceAccountRoleArgs(
                identity=self.identity,
                namespace=naming.SYSTEM_NAMESPACE,
                service_account=account,
                statements=statements,
                tags=self._tags,
            ),
            pulumi.ResourceOptions(parent=self),
        ).arn

    def _storage_class(self, provider: k8s.Provider, disk_key: pulumi.Input[str] | None) -> k8s.storage.v1.StorageClass:
        """Make the default one: a new cluster has none, and a claim without one waits for ever."""
        return k8s.storage.v1.StorageClass(
            STORAGE_CLASS,
            metadata=k8s.meta.v1.ObjectMetaArgs(name=STORAGE_CLASS, annotations={"storageclass.kubernetes.io/is-default-class": "true"}),
            provisioner="ebs.csi.aws.com",
            parameters={"type": "gp3", "encrypted": "true", **({} if disk_key is None else {"kmsKeyId": disk_key})},
            volume_binding_mode="WaitForFirstConsumer",
            allow_volume_expansion=True,
            opts=pulumi.ResourceOptions(parent=self, provider=provider),
        )

    def _registry(self, name: str) -> ImageRegistry | None:
        settings = self._settings.image_repository
        if settings is None:
            return None
        return ImageRepository(
            f"{name}-images",
            ImageRepositoryArgs(settings=settings, tags=self._tags, provider=self._aws),
            pulumi.ResourceOptions(parent=self),
        ).handle
