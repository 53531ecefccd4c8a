"""An EKS cluster: network, control plane, nodes, EKS add-ons, and the IAM roles of what runs on it.

Order of creation: VPC and roles; the control plane with vpc-cni and kube-proxy; all node groups in parallel; then CoreDNS and the EBS
driver, which need an untainted node. The Kubernetes provider waits for all of these except the driver, so that everything created through
it has nodes to run on, and is deleted while nodes and DNS still work. The driver takes longest, and only what claims volumes needs it:
`ClusterHandle.volumes` waits for it.

The control plane is pulumi-eks' component with its defaults turned off. The node groups are not (`node_groups.py` says why), and neither is
CoreDNS: the component would create it before any node, where it fails after 20 minutes. Creates no Kubernetes object except a default
StorageClass.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import pulumi
import pulumi_aws as aws
import pulumi_eks as eks
import pulumi_kubernetes as k8s

from components.base import naming
from components.base.aws import partition
from components.base.handles import AwsAccess, ClusterHandle, ImageRegistry
from components.base.outputs import after
from components.eks.account import CLUSTER_TAG, check_capacity, check_leftovers
from components.eks.iam import Account, document, pod_identity_trust
from components.eks.identity import Identity, ServiceAccountRole, ServiceAccountRoleArgs, attach_policy, node_role
from components.eks.karpenter.access import KarpenterAccess, KarpenterAccessArgs
from components.eks.keys import check_keys, check_scaling_role, create_key
from components.eks.network import Vpc, VpcArgs, find_network
from components.eks.node_groups import NodeGroup, NodeGroupArgs
from components.eks.plan import (
    ADDON_VALUES,
    ADDONS,
    EBS_DRIVER,
    METRICS_SERVER,
    NODE_MONITORING,
    POD_IDENTITY,
    check_admins,
    gpu_pool,
    node_groups,
    node_policies,
    with_profile,
)
from components.eks.policies import cluster_autoscaler, key_policy, load_balancer_controller, volume_driver
from components.eks.registry import ImageRepository, ImageRepositoryArgs

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from components.eks.iam import Statement
    from components.eks.network import Network
    from components.eks.policies import Purpose
    from components.eks.settings.cluster import EksClusterSettings

STORAGE_CLASS: Final = "gp3"


@dataclass(frozen=True, kw_only=True)
class EksClusterArgs:
    """Arguments of `EksCluster`."""

    settings: EksClusterSettings
    autoscaler: Literal["none", "clusterAutoscaler", "karpenter"]
    """The node autoscaler, which gets a role."""
    load_balancer: bool
    """Whether AWS Load Balancer Controller gets a role."""
    resource_metrics: bool
    """Whether an autoscaler of the stack reads metrics.k8s.io, which EKS does not serve by itself."""


def find_vpc(cluster: str, provider: aws.Provider) -> str | None:
    """Look up the VPC of a cluster; None if it does not exist yet."""
    options = pulumi.InvokeOptions(provider=provider)
    if cluster not in aws.eks.get_clusters(opts=options).names:
        return None
    return aws.eks.get_cluster(name=cluster, opts=options).vpc_config.vpc_id


def replaced(vpc_now: str | None, vpc_id: pulumi.Output[str], *, protect: bool) -> pulumi.ResourceTransform:
    """Return a transform that has the component's cluster replaced where EKS can't change it.

    The AWS provider (internal/service/eks/cluster.go) updates a cluster in place even where EKS refuses that, such as for subnets of
    another VPC, or where no API exists: for another key for Secrets it makes no call, and with ``secretsKey: create`` before, Pulumi would
    then delete the key that the cluster still uses. A cluster without a key gets one in place, and subnets of the same VPC too.

    Args:
        vpc_now: Where the cluster is. Asked of EKS, because an `up` that ends early may leave a new VPC and the old cluster.
        vpc_id: Where the cluster has to be; unknown in a preview that replaces the VPC.
        protect: Whether Pulumi refuses to replace or delete it, before anything is deleted.
    """

    async def transform(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
        if args.type_ != "aws:eks/cluster:Cluster":
            return None
        moved = vpc_now is not None and await vpc_id.future() != vpc_now
        more = pulumi.ResourceOptions(
            replace_on_changes=["encryptionConfig.provider.keyArn", *(["vpcConfig.subnetIds"] if moved else [])],
            delete_before_replace=True,  # two clusters can't have one name
            protect=protect or None,
        )
        return pulumi.ResourceTransformResult(args.props, pulumi.ResourceOptions.merge(args.opts, more))

    return transform


class EksCluster(pulumi.ComponentResource):
    """A cluster that the stack creates. Raises FleetError if AWS shows the settings to be wrong, before anything is declared."""

    handle: ClusterHandle
    identity: Identity
    """What the roles of service accounts are built from."""
    registry: ImageRegistry | None = None
    """The ECR repository, if the settings ask for one."""

    def __init__(self, name: str, args: EksClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings = args.settings
        karpenter = args.autoscaler == "karpenter"
        super().__init__(naming.type_token("cluster", "EksCluster"), name, None, opts)
        self._name, self._settings = name, settings
        self._tags = {**settings.tags, CLUSTER_TAG: settings.name}
        self._parent = pulumi.ResourceOptions(parent=self)
        self._aws = aws.Provider(name, region=settings.region, profile=settings.profile, opts=self._parent)
        self._child = pulumi.ResourceOptions(parent=self, provider=self._aws)
        caller = aws.get_caller_identity(opts=pulumi.InvokeOptions(provider=self._aws))
        self._account = account = Account(partition=partition(settings.region), region=settings.region, id=caller.account_id)
        check_admins(settings.admins, caller.arn)
        keys = {"secretsKey": settings.secrets_key, "diskKey": settings.disk_key, "logsKey": settings.logs_key}
        check_keys({**keys, "modelsKey": settings.models_key}, account, self._aws)
        if settings.disk_key == "create":
            check_scaling_role(self._aws)

        check_leftovers(settings, self._log_group, self._aws)

        network = self._network(discovery=karpenter)
        plans = node_groups(settings, tuple(network.private))
        check_capacity(plans, settings, self._aws)
        disk_key = self._key("disks", settings.disk_key)
        control_plane = self._control_plane(network)
        # By its output: what only depends_on the cluster would still be in it when a replacement deletes it, and EKS would refuse that.
        cluster_name: pulumi.Output[str] = control_plane.eks_cluster.apply(lambda made: made.name)
        _, role_arn = node_role(f"{name}-node", account, node_policies(settings), tags=self._tags, opts=self._child)
        groups = {
            plan.name: NodeGroup(
                f"{name}-{plan.name}",
                NodeGroupArgs(
                    plan=plan,
                    cluster=settings.name,
                    cluster_name=cluster_name,
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
                self._parent,
            )
            for plan in plans
        }
        addons = self._addons(
            control_plane,
            cluster_name,
            groups[plans[0].name],
            disk_key,
            without={
                *(() if args.resource_metrics else (METRICS_SERVER,)),
                *(() if settings.node_monitoring else (NODE_MONITORING,)),
            },
        )
        driver = addons.pop(EBS_DRIVER)
        addons.pop(METRICS_SERVER, None)  # nothing waits for it: until then an autoscaler keeps its minimum
        oidc = aws.iam.OpenIdConnectProvider(
            name, url=control_plane.oidc_provider_url, client_id_lists=["sts.amazonaws.com"], tags=self._tags, opts=self._child
        )
        self.identity = Identity(account=account, oidc_arn=oidc.arn, issuer=control_plane.oidc_issuer, provider=self._aws)
        provider = k8s.Provider(
            name,
            kubeconfig=control_plane.kubeconfig_json.apply(lambda text: with_profile(text, settings.profile)),
            # Known while the cluster stays, even if a preview does not know the kubeconfig. Unknown once the cluster is replaced: Pulumi
            # then replaces everything in it; a fixed name would leave all objects "unchanged" in the state and missing in the new cluster.
            cluster_identifier=after(
                pulumi.Output.from_input(f"{settings.region}/{settings.name}"), control_plane.eks_cluster.apply(lambda made: made.id)
            ),
            enable_server_side_apply=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*groups.values(), *addons.values()]),
        )
        storage = self._storage_class(provider, disk_key)
        if settings.image_repository is not None:
            repository = ImageRepositoryArgs(settings=settings.image_repository, tags=self._tags, provider=self._aws)
            self.registry = ImageRepository(f"{name}-images", repository, self._parent).handle
        access = self._karpenter(control_plane, cluster_name, disk_key) if karpenter else None
        autoscaler = cluster_autoscaler(account, settings.name) if args.autoscaler == "clusterAutoscaler" else None
        load_balancer = load_balancer_controller(account, settings.name) if args.load_balancer else None
        ready = [*(group.ready for group in groups.values()), *(addon.arn for addon in addons.values())]
        self.handle = ClusterHandle(
            name=after(pulumi.Output.from_input(settings.name), *ready),
            provider=provider,
            gpu_pools=tuple(gpu_pool(pool) for pool in settings.gpu_pools),
            volumes=after(pulumi.Output.from_input(STORAGE_CLASS), storage.id, driver.arn),
            aws=AwsAccess(
                region=pulumi.Output.from_input(settings.region),
                vpc_id=network.vpc_id,
                kubernetes_version=settings.version,
                autoscaler_role_arn=self._role("autoscaler", naming.AUTOSCALER_RELEASE, autoscaler),
                load_balancer_role_arn=self._role("load-balancer", naming.LOAD_BALANCER_RELEASE, load_balancer),
                karpenter_role_arn=None if access is None else access.role_arn,
                karpenter_instance_profile=None if access is None else access.instance_profile,
                interruption_queue=None if access is None else access.queue,
                disk_key=None if disk_key is None else pulumi.Output.from_input(disk_key),
            ),
        )
        self.register_outputs({"name": settings.name})

    def _network(self, *, discovery: bool) -> Network:
        settings = self._settings
        if settings.network.kind == "existing":
            return find_network(settings.network, settings.name, self._aws, discovery=discovery)
        args = VpcArgs(settings=settings.network, cluster=settings.name, region=settings.region, provider=self._aws, tags=self._tags)
        return Vpc(f"{self._name}-vpc", args, self._parent).network

    def _control_plane(self, network: Network) -> eks.Cluster:
        settings = self._settings
        # Created first, for its retention: EKS would create the group itself and keep its logs forever.
        logs = aws.cloudwatch.LogGroup(
            f"{self._name}-logs",
            name=self._log_group,
            retention_in_days=settings.log_retention_days,
            kms_key_id=self._key("logs", settings.logs_key),
            tags=self._tags,
            opts=self._child,
        )
        policy = eks.AccessPolicyAssociationArgs(
            policy_arn=f"arn:{self._account.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy",
            access_scope=aws.eks.AccessPolicyAssociationAccessScopeArgs(type="cluster"),
        )
        return eks.Cluster(
            self._name,
            name=settings.name,
            version=settings.version,
            vpc_id=network.vpc_id,
            subnet_ids=list(network.control_plane_ids),  # without public ones: the component puts nodes into the union of both
            authentication_mode=eks.AuthenticationMode.API,
            access_entries={
                f"admin-{index}": eks.AccessEntryArgs(principal_arn=admin, access_policies={"admin": policy})
                for index, admin in enumerate(settings.admins)
            },
            endpoint_private_access=settings.endpoint.private,
            endpoint_public_access=settings.endpoint.public,
            public_access_cidrs=list(settings.endpoint.public_cidrs) or None,
            encryption_config_key_arn=self._key("secrets", None if settings.secrets_key == "none" else settings.secrets_key),
            deletion_protection=settings.deletion_protection,
            enabled_cluster_log_types=list(settings.logs),
            create_oidc_provider=False,  # the component would fetch the issuer's certificate, in previews too
            skip_default_node_group=True,
            create_instance_role=False,
            skip_default_security_groups=True,
            upgrade_policy=aws.eks.ClusterUpgradePolicyArgs(support_type=settings.support.upper()),
            vpc_cni_options=eks.VpcCniOptionsArgs(
                addon_version=self._addon_version("vpc-cni"),
                enable_prefix_delegation=True,
                warm_prefix_target=1,
                log_level="INFO",
                enable_network_policy=True,
            ),
            kube_proxy_addon_options=eks.KubeProxyAddonOptionsArgs(version=self._addon_version("kube-proxy")),
            # Set even without a profile: with an explicit provider the component fails without this argument.
            provider_credential_opts=eks.KubeconfigOptionsArgs(profile_name=settings.profile),
            tags=self._tags,
            opts=pulumi.ResourceOptions(
                parent=self,
                providers=[self._aws],
                depends_on=[logs],
                transforms=[replaced(find_vpc(settings.name, self._aws), network.vpc_id, protect=settings.deletion_protection)],
            ),
        )

    @property
    def _log_group(self) -> str:
        return f"/aws/eks/{self._settings.name}/cluster"

    def _key(self, purpose: Purpose, setting: str | None) -> pulumi.Input[str] | None:
        """Return the ARN of a key: the one that the setting names, that of a new key for ``create``, or None for AWS' own key."""
        if setting != "create":
            return setting
        policy = key_policy(purpose, self._account, self._log_group)
        return create_key(f"{self._name}-{purpose}", purpose, cluster=self._settings.name, policy=policy, tags=self._tags, opts=self._child)

    def _karpenter(
        self, control_plane: eks.Cluster, cluster_name: pulumi.Output[str], disk_key: pulumi.Input[str] | None
    ) -> KarpenterAccess:
        args = KarpenterAccessArgs(
            cluster=self._settings.name,
            cluster_name=cluster_name,
            identity=self.identity,
            node_policies=node_policies(self._settings),
            security_group_id=control_plane.cluster_security_group_id,
            disk_key=disk_key,
            tags=self._tags,
            depends_on=[control_plane],
        )
        return KarpenterAccess(f"{self._name}-karpenter", args, self._parent)

    def _addons(
        self,
        control_plane: eks.Cluster,
        cluster_name: pulumi.Output[str],
        cpu: NodeGroup,
        disk_key: pulumi.Input[str] | None,
        without: Collection[str],
    ) -> dict[str, aws.eks.Addon]:
        identity = aws.eks.AddonPodIdentityAssociationArgs(role_arn=self._driver_role(disk_key), service_account="ebs-csi-controller-sa")
        addons: dict[str, aws.eks.Addon] = {}
        for addon in (name for name in ADDONS if name not in without):
            # The agent comes first: it gives pods their identities.
            before: list[pulumi.Resource] = [control_plane, *([cpu, addons[POD_IDENTITY]] if ADDONS[addon] else [])]
            addons[addon] = aws.eks.Addon(
                f"{self._name}-{addon}",
                cluster_name=cluster_name,
                addon_name=addon,
                addon_version=self._addon_version(addon),
                resolve_conflicts_on_create="OVERWRITE",
                resolve_conflicts_on_update="PRESERVE",
                configuration_values=json.dumps(ADDON_VALUES[addon]) if addon in ADDON_VALUES else None,
                pod_identity_associations=[identity] if addon == EBS_DRIVER else None,
                tags=self._tags,
                opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=before)),
            )
        return addons

    def _driver_role(self, disk_key: pulumi.Input[str] | None) -> pulumi.Output[str]:
        """Create the EBS driver's role; return its ARN, which waits for its policies."""
        name = f"{self._name}-ebs"
        role = aws.iam.Role(name, assume_role_policy=pod_identity_trust(), tags=self._tags, opts=self._child)
        managed = self._account.managed_policy("service-role/AmazonEBSCSIDriverPolicy")
        ready = [aws.iam.RolePolicyAttachment(name, role=role.name, policy_arn=managed, opts=self._child).id]
        if disk_key is not None:
            text = pulumi.Output.from_input(disk_key).apply(lambda key: document(volume_driver(key)))
            ready.append(attach_policy(f"{name}-key", role, text, tags=self._tags, opts=self._child))
        return after(role.arn, *ready)

    def _addon_version(self, addon: Any) -> pulumi.Input[str]:
        """Return the version of an add-on: the one in the settings, or EKS' default for the Kubernetes version."""
        pinned = self._settings.addon_versions.get(addon)
        if pinned is not None:
            return pinned
        options = pulumi.InvokeOutputOptions(provider=self._aws)
        return aws.eks.get_addon_version_output(
            addon_name=addon, kubernetes_version=self._settings.version, most_recent=False, opts=options
        ).version

    def _role(self, suffix: str, account: str, statements: Sequence[Statement] | None) -> pulumi.Output[str] | None:
        """Create a role for a service account in kube-system, if it has ``statements``."""
        if statements is None:
            return None
        args = ServiceAccountRoleArgs(
            identity=self.identity,
            namespace=naming.SYSTEM_NAMESPACE,
            service_account=account,
            statements=statements,
            tags=self._tags,
        )
        return ServiceAccountRole(f"{self._name}-{suffix}", args, self._parent).arn

    def _storage_class(self, provider: k8s.Provider, disk_key: pulumi.Input[str] | None) -> k8s.storage.v1.StorageClass:
        """Create the default StorageClass: a new cluster has none, and a claim that names none would stay pending."""
        key = {} if disk_key is None else {"kmsKeyId": disk_key}
        return k8s.storage.v1.StorageClass(
            STORAGE_CLASS,
            metadata=k8s.meta.v1.ObjectMetaArgs(name=STORAGE_CLASS, annotations={"storageclass.kubernetes.io/is-default-class": "true"}),
            provisioner="ebs.csi.aws.com",
            parameters={"type": "gp3", "encrypted": "true", **key},
            volume_binding_mode="WaitForFirstConsumer",
            allow_volume_expansion=True,
            opts=pulumi.ResourceOptions(parent=self, provider=provider),
        )
