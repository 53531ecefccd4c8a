"""An EKS cluster: network, control plane, nodes, EKS' own add-ons, and the identities of what runs on it.

The order is what makes it come up: VPC and roles; the control plane with vpc-cni and kube-proxy; the node groups, all at once; then CoreDNS
and the EBS driver, which need a node without taint. The Kubernetes provider waits for all of it, so that everything made through it has
somewhere to run, and so that a destroy takes it all away while nodes, DNS and the storage driver still work.

The control plane is pulumi-eks' component with its defaults off; the node groups are not (`nodegroups.py` says why). Its CoreDNS is never
switched on: it would be made before any node, and fail after 20 minutes. It makes no Kubernetes object but a default StorageClass.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import pulumi
import pulumi_kubernetes as k8s

from components import naming
from components.cluster import gpu
from components.cluster.identity import (
    Account,
    Identity,
    ServiceAccountRole,
    ServiceAccountRoleArgs,
    cluster_autoscaler,
    load_balancer_controller,
)
from components.cluster.network import Vpc, VpcArgs, after, existing
from components.cluster.nodegroups import NodeGroup, NodeGroupArgs, NodeGroupPlan, cpu_group, gpu_groups, gpu_labels
from components.cluster.registry import ImageRepository, ImageRepositoryArgs
from components.errors import FleetError
from components.handles import AwsAccess, ClusterHandle, GpuPool
from components.iam import Statement, partition, pod_identity_trust, service_trust
from components.naming import type_token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pulumi_aws as aws
    import pulumi_eks as eks

    from components.cluster.network import Network
    from components.settings.cluster import EksClusterSettings, GpuPoolSettings

_ADMIN_POLICY: Final = "cluster-access-policy/AmazonEKSClusterAdminPolicy"
_NODE_POLICIES: Final = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonEKS_CNI_Policy")
_SESSION_MANAGER_POLICY: Final = "AmazonSSMManagedInstanceCore"
_EBS_POLICY: Final = "service-role/AmazonEBSCSIDriverPolicy"
_POD_IDENTITY: Final = "eks-pod-identity-agent"
_EBS_ACCOUNT: Final = "ebs-csi-controller-sa"
STORAGE_CLASS: Final = "gp3"


@dataclass(frozen=True, kw_only=True)
class AddonPlan:
    """One add-on of EKS."""

    name: str
    needs_nodes: bool
    """Whether it has a Deployment: without an untainted node it would never be active."""
    configuration: Mapping[str, Any] | None = None


def addon_plans() -> tuple[AddonPlan, ...]:
    """Add-ons besides vpc-cni and kube-proxy, which must be there before the first node boots and are made with the control plane."""
    return (
        AddonPlan(name=_POD_IDENTITY, needs_nodes=False),
        AddonPlan(name="coredns", needs_nodes=True),
        AddonPlan(name="aws-ebs-csi-driver", needs_nodes=True),
    )


def node_policies(settings: EksClusterSettings) -> tuple[str, ...]:
    """Names of AWS' managed policies in the node role. Nodes' role is no pod's: hop limit 1 keeps pods from it."""
    return (*_NODE_POLICIES, *((_SESSION_MANAGER_POLICY,) if settings.session_manager else ()))


def node_groups(settings: EksClusterSettings, zones: Sequence[str]) -> tuple[NodeGroupPlan, ...]:
    """All node groups of a cluster, the one without GPUs first.

    Raises:
        FleetError: When a pool names a zone that the network has not (an existing network's zones are known from AWS alone).
    """
    problems = [
        f"triton-fleet:cluster.gpuPools[{index}].zones names {zone}, where the network has no subnet: its nodes could not be made. "
        f"Choose from {', '.join(zones)}."
        for index, pool in enumerate(settings.gpu_pools)
        for zone in pool.zones or ()
        if zone not in zones
    ]
    if problems:
        raise FleetError(*problems)
    return (cpu_group(settings.cpu_pool, zones), *(group for pool in settings.gpu_pools for group in gpu_groups(pool, zones)))


def gpu_pool(pool: GpuPoolSettings) -> GpuPool:
    """What add-ons and deployments need to know of a pool."""
    sharing = pool.shared
    offer = gpu.offer(pool.machine, sharing)
    return GpuPool(
        name=pool.name,
        labels={key: value for key, value in gpu_labels(pool).items() if key == naming.POOL_LABEL},
        resource=offer.resource,
        units=offer.per_node,
        sharing="none" if sharing.kind == "whole" else sharing.kind,
        replicas=sharing.replicas,
        mig_strategy="mixed" if sharing.kind == "mig" else "none",
        device_plugin="bundled" if gpu.brings_device_plugin(pool.os) else "install",
    )


def principal(caller: str) -> str:
    """IAM's ARN of who calls: a session's own ARN names its role without path, so only the last part of it can be compared."""
    parts = caller.split(":")
    kind, _, name = parts[5].partition("/")
    if kind != "assumed-role":
        return caller
    return ":".join([*parts[:2], "iam", "", parts[4], f"role/{name.split('/')[0]}"])


def check_admins(admins: Sequence[str], caller: str) -> None:
    """Refuse the caller among ``admins``: EKS makes it an administrator itself, and a second entry for it fails. Raises FleetError."""
    own = principal(caller)
    for admin in admins:
        head, _, rest = admin.partition(":role/")
        if own in {admin, f"{head}:role/{rest.rsplit('/', maxsplit=1)[-1]}"}:
            raise FleetError(
                f"triton-fleet:cluster.admins names {admin}, who runs this: EKS makes it an administrator itself and would refuse a second "
                "entry. Take it out."
            )


def with_profile(kubeconfig: str, profile: str | None) -> str:
    """Add ``--profile`` to the token command of a kubeconfig (JSON): pulumi-eks leaves it out of the one that it gives away."""
    content = json.loads(kubeconfig)
    if profile is not None:
        for user in content["users"]:
            arguments = user["user"]["exec"]["args"]
            if "--profile" not in arguments:
                arguments += ["--profile", profile]
    return json.dumps(content, sort_keys=True)


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
    images: pulumi.Output[str] | None
    """URL of the ECR repository, where one is made."""

    def __init__(self, name: str, args: EksClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        import pulumi_aws as aws  # noqa: PLC0415  # only a stack on AWS pays for it

        settings = args.settings
        self._settings = settings
        super().__init__(type_token("cluster", "EksCluster"), name, None, opts)
        self._tags = {**settings.tags, "triton-fleet/cluster": settings.name}
        self._aws = aws.Provider(name, region=settings.region, profile=settings.profile, opts=pulumi.ResourceOptions(parent=self))
        self._child = pulumi.ResourceOptions(parent=self, provider=self._aws)
        caller = aws.get_caller_identity(opts=pulumi.InvokeOptions(provider=self._aws))
        check_admins(settings.admins, caller.arn)
        account = Account(partition=partition(settings.region), region=settings.region, id=caller.account_id)

        network = self._network(name)
        plans = node_groups(settings, tuple(network.private))
        control_plane = self._control_plane(name, network)
        role_arn = self._node_role(name)
        groups = {
            plan.name: NodeGroup(
                f"{name}-{plan.name}",
                NodeGroupArgs(
                    plan=plan,
                    cluster=settings.name,
                    vpc_id=network.vpc_id,
                    role_arn=role_arn,
                    security_group_id=control_plane.cluster_security_group_id,
                    subnet_ids=[subnet for zone in plan.zones for subnet in network.private[zone]],
                    disk_key=settings.disk_key,
                    tags=self._tags,
                    provider=self._aws,
                    depends_on=[control_plane],
                ),
                pulumi.ResourceOptions(parent=self),
            )
            for plan in plans
        }
        addons = self._addons(name, control_plane, groups[plans[0].name])
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
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*groups.values(), *addons]),
        )
        storage = self._storage_class(provider)
        ready = [storage.id, *(group.ready for group in groups.values()), *(addon.arn for addon in addons)]
        self.images = self._images(name)
        self.handle = ClusterHandle(
            name=after(pulumi.Output.from_input(settings.name), *ready),
            provider=provider,
            gpu_pools=tuple(gpu_pool(pool) for pool in settings.gpu_pools),
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
            ),
        )
        self.register_outputs({"name": settings.name})

    def _network(self, name: str) -> Network:
        settings = self._settings
        if settings.network.kind == "existing":
            return existing(settings.network, settings.name, self._aws)
        return Vpc(
            f"{name}-vpc",
            VpcArgs(settings=settings.network, cluster=settings.name, region=settings.region, provider=self._aws, tags=self._tags),
            pulumi.ResourceOptions(parent=self),
        ).network

    def _control_plane(self, name: str, network: Network) -> eks.Cluster:
        import pulumi_aws as aws  # noqa: PLC0415  # as above
        import pulumi_eks as eks  # noqa: PLC0415  # as above

        settings = self._settings
        # Made first, for its retention: EKS would make it and keep all for ever.
        logs = aws.cloudwatch.LogGroup(
            f"{name}-logs",
            name=f"/aws/eks/{settings.name}/cluster",
            retention_in_days=settings.log_retention_days,
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
            authentication_mode=eks.AuthenticationMode.API,
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
            encryption_config_key_arn=self._secrets_key(name),
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

    def _secrets_key(self, name: str) -> pulumi.Input[str] | None:
        import pulumi_aws as aws  # noqa: PLC0415  # as above

        settings = self._settings
        if settings.secrets_key != "create":
            return None if settings.secrets_key == "none" else settings.secrets_key
        key = aws.kms.Key(
            f"{name}-secrets",
            description=f"Kubernetes Secrets of {settings.name}",
            enable_key_rotation=True,
            deletion_window_in_days=7,
            tags=self._tags,
            opts=self._child,
        )
        return key.arn

    def _node_role(self, name: str) -> pulumi.Output[str]:
        """Make the role of nodes. Its ARN waits for its policies: a node without them never joins."""
        import pulumi_aws as aws  # noqa: PLC0415  # as above

        service = "ec2.amazonaws.com.cn" if self._settings.region.startswith("cn-") else "ec2.amazonaws.com"
        role = aws.iam.Role(f"{name}-node", assume_role_policy=service_trust(service), tags=self._tags, opts=self._child)
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

    def _addons(self, name: str, control_plane: eks.Cluster, cpu: NodeGroup) -> list[aws.eks.Addon]:
        import pulumi_aws as aws  # noqa: PLC0415  # as above

        role = aws.iam.Role(f"{name}-ebs", assume_role_policy=pod_identity_trust(), tags=self._tags, opts=self._child)
        attachment = aws.iam.RolePolicyAttachment(
            f"{name}-ebs",
            role=role.name,
            policy_arn=f"arn:{partition(self._settings.region)}:iam::aws:policy/{_EBS_POLICY}",
            opts=self._child,
        )
        identity = aws.eks.AddonPodIdentityAssociationArgs(role_arn=after(role.arn, attachment.id), service_account=_EBS_ACCOUNT)
        made: dict[str, aws.eks.Addon] = {}
        for plan in addon_plans():
            # Whoever gets an identity of a pod needs the agent that hands it out.
            before: list[pulumi.Resource] = [control_plane, *([cpu, made[_POD_IDENTITY]] if plan.needs_nodes else [])]
            made[plan.name] = aws.eks.Addon(
                f"{name}-{plan.name}",
                cluster_name=self._settings.name,
                addon_name=plan.name,
                addon_version=self._addon_version(plan.name),
                resolve_conflicts_on_create="OVERWRITE",
                resolve_conflicts_on_update="PRESERVE",
                configuration_values=None if plan.configuration is None else json.dumps(plan.configuration, sort_keys=True),
                pod_identity_associations=[identity] if plan.name == "aws-ebs-csi-driver" else None,
                tags=self._tags,
                opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=before)),
            )
        return list(made.values())

    def _addon_version(self, addon: Any) -> pulumi.Input[str]:
        """Version of an add-on: the one that is written down, else EKS' default for the Kubernetes version."""
        import pulumi_aws as aws  # noqa: PLC0415  # as above

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

    def _storage_class(self, provider: k8s.Provider) -> k8s.storage.v1.StorageClass:
        """Make the default one: a new cluster has none, and a claim without one waits for ever."""
        return k8s.storage.v1.StorageClass(
            STORAGE_CLASS,
            metadata=k8s.meta.v1.ObjectMetaArgs(name=STORAGE_CLASS, annotations={"storageclass.kubernetes.io/is-default-class": "true"}),
            provisioner="ebs.csi.aws.com",
            parameters={"type": "gp3", "encrypted": "true"},
            volume_binding_mode="WaitForFirstConsumer",
            allow_volume_expansion=True,
            opts=pulumi.ResourceOptions(parent=self, provider=provider),
        )

    def _images(self, name: str) -> pulumi.Output[str] | None:
        settings = self._settings.image_repository
        if settings is None:
            return None
        return ImageRepository(
            f"{name}-images",
            ImageRepositoryArgs(settings=settings, tags=self._tags, provider=self._aws),
            pulumi.ResourceOptions(parent=self),
        ).url
