"""A GKE cluster: network, control plane, node pools, and the identities of nodes and pods.

The order is what makes it come up: APIs; VPC, service account with its roles, key; the control plane; the pools, all at once, when their
way out is there. The Kubernetes provider waits for all of it and for the firewall rules that webhooks need, so that everything made through
it has somewhere to run and goes away while nodes still work.

GPU pools don't wait for the pool without GPUs, as they once did, because without one GKE doesn't taint GPU nodes: the taint is declared
here, to the letter GKE's own, and so there whichever pool is first.

The pool that GKE makes with a cluster is taken away at once: nothing of it could be changed later.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s

from components.base import naming
from components.base.errors import FleetError
from components.base.handles import ClusterHandle, GcpAccess, ImageRegistry
from components.base.naming import type_token
from components.base.outputs import after
from components.gke.identity import NodeAccount, NodeAccountArgs, node_roles
from components.gke.network import GcpVpc, GcpVpcArgs, existing, find_zones, firewall_plans, open_firewall
from components.gke.node_pools import NodePoolArgs, declare, gpu_pool, node_pools
from components.gke.plan import PLUGIN, SCOPES, admin_subjects, apis, kubeconfig, log_components, monitoring_components, window
from components.gke.registry import ArtifactRepository, ArtifactRepositoryArgs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.gke.network import GcpNetwork
    from components.gke.settings.cluster import GkeClusterSettings
    from components.gke.settings.maintenance import MaintenanceSettings

__all__ = ["PLUGIN", "GkeCluster", "GkeClusterArgs"]

_CLUSTER_LABEL: Final = "triton-fleet-cluster"
_KEY_ROLE: Final = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
_ROTATION_S: Final = 90 * 86400


def check_plugin() -> None:
    """See that the program is there that the kubeconfig asks for tokens. Raises FleetError."""
    if shutil.which(PLUGIN) is None:
        raise FleetError(
            f"{PLUGIN} is not on PATH: the cluster would be made, and nothing in it. "
            f"Install it (gcloud components install {PLUGIN}), for previews and destroys too."
        )


def _dns_name(endpoints: Any) -> str:
    return str(endpoints.dns_endpoint_config.endpoint)


@dataclass(frozen=True, kw_only=True)
class GkeClusterArgs:
    """Arguments of `GkeCluster`."""

    settings: GkeClusterSettings
    images: Sequence[str]
    """Images of the deployments: nodes may read the project's registry when one is in it."""
    webhook_ports: Sequence[int]
    """Ports of pods that the control plane calls: webhooks and aggregated APIs."""
    build_cache: bool = False
    """Whether builds keep their layers in the image repository."""


class GkeCluster(pulumi.ComponentResource):
    """A cluster of the stack's own. Raises FleetError where Google shows the settings to be wrong, before anything is declared."""

    handle: ClusterHandle
    registry: ImageRegistry | None
    """Address of the Artifact Registry repository, where one is made."""

    def __init__(self, name: str, args: GkeClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        check_plugin()
        settings = args.settings
        self._settings = settings
        super().__init__(type_token("cluster", "GkeCluster"), name, None, opts)
        self._labels = {**settings.tags, _CLUSTER_LABEL: settings.name}
        self._gcp = gcp.Provider(name, project=settings.project, region=settings.region, opts=pulumi.ResourceOptions(parent=self))
        self._child = pulumi.ResourceOptions(parent=self, provider=self._gcp)
        zones = find_zones(settings, self._gcp)
        enabled = self._apis(name)

        network = self._network(name, enabled)
        nodes = NodeAccount(
            f"{name}-nodes",
            NodeAccountArgs(
                cluster=settings.name,
                project=settings.project,
                roles=node_roles(settings, args.images),
                provider=self._gcp,
                depends_on=enabled,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.registry = self._registry(name, nodes.member, enabled, build_cache=args.build_cache)
        control_plane = self._control_plane(name, network, nodes.email, zones, self._secrets_key(name, enabled))
        # The control plane and GKE's first pool get what they need from Google by private access; pods pull from elsewhere.
        pools = self._pools(name, after(control_plane.id, *network.way_out), nodes.email, zones)
        openings = []
        if settings.network.kind == "create" or settings.network.firewall:
            openings = open_firewall(
                name,
                network,
                firewall_plans(network.control_plane, args.webhook_ports),
                cluster=settings.name,
                target=self._network_tag,
                opts=self._child,
            )
        provider = k8s.Provider(
            name,
            kubeconfig=self._kubeconfig(control_plane),
            # Fixed from the first day: a kubeconfig that is not known in a preview would else plan to replace all that is in the cluster.
            cluster_identifier=f"{settings.project}/{settings.location}/{settings.name}",
            enable_server_side_apply=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*pools, *openings]),
        )
        ready = [pool.id for pool in pools] + [opening.id for opening in openings] + self._admins(name, provider)
        self.handle = ClusterHandle(
            name=after(pulumi.Output.from_input(settings.name), *ready),
            provider=provider,
            gpu_pools=tuple(gpu_pool(pool) for pool in settings.gpu_pools),
            gcp=GcpAccess(
                project=settings.project,
                location=settings.location,
                region=settings.region,
                cluster=settings.name,
                network=network.network,
                workload_pool=after(pulumi.Output.from_input(f"{settings.project}.svc.id.goog"), control_plane.id),
                gcp=self._gcp,
            ),
        )
        self.register_outputs({"name": settings.name})

    @property
    def _network_tag(self) -> str:
        return f"{self._settings.name}-node"

    def _apis(self, name: str) -> list[gcp.projects.Service]:
        if not self._settings.enable_apis:
            return []
        return [
            gcp.projects.Service(
                f"{name}-{api}",
                project=self._settings.project,
                service=f"{api}.googleapis.com",
                disable_on_destroy=False,
                opts=self._child,
            )
            for api in apis(self._settings)
        ]

    def _network(self, name: str, enabled: Sequence[pulumi.Resource]) -> GcpNetwork:
        settings = self._settings
        if settings.network.kind == "existing":
            return existing(settings.network, project=settings.project, region=settings.region, provider=self._gcp)
        return GcpVpc(
            f"{name}-vpc",
            GcpVpcArgs(
                settings=settings.network,
                cluster=settings.name,
                project=settings.project,
                region=settings.region,
                provider=self._gcp,
                depends_on=enabled,
            ),
            pulumi.ResourceOptions(parent=self),
        ).network

    def _secrets_key(self, name: str, enabled: Sequence[pulumi.Resource]) -> pulumi.Output[str] | None:
        """Make the key for Secrets, or take the one that is there; usable by GKE's own service agent when it is handed out."""
        settings = self._settings
        if settings.secrets_key == "none":
            return None
        if settings.secrets_key == "create":
            # Without a name of our own: a ring can't be deleted, and the next stack of this name could not make it again.
            ring = gcp.kms.KeyRing(
                f"{name}-secrets",
                project=settings.project,
                location=settings.region,
                opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=list(enabled))),
            )
            key = gcp.kms.CryptoKey(
                f"{name}-secrets",
                key_ring=ring.id,
                purpose="ENCRYPT_DECRYPT",
                rotation_period=f"{_ROTATION_S}s",
                labels=self._labels,
                opts=self._child,
            ).id
        else:
            key = pulumi.Output.from_input(settings.secrets_key)
        number = gcp.organizations.get_project_output(
            project_id=settings.project,
            # Asks an API that the stack may only be about to switch on.
            opts=pulumi.InvokeOutputOptions(provider=self._gcp, depends_on=list(enabled)),
        ).number
        allowed = gcp.kms.CryptoKeyIAMMember(
            f"{name}-secrets",
            crypto_key_id=key,
            role=_KEY_ROLE,
            member=pulumi.Output.concat("serviceAccount:service-", number, "@container-engine-robot.iam.gserviceaccount.com"),
            opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=list(enabled))),
        )
        return after(key, allowed.id)

    def _control_plane(
        self,
        name: str,
        network: GcpNetwork,
        service_account: pulumi.Output[str],
        zones: Sequence[str],
        key: pulumi.Output[str] | None,
    ) -> gcp.container.Cluster:
        settings = self._settings
        further = [zone for zone in zones if zone != settings.zone]
        more: dict[str, Any] = {}
        if key is not None:
            more["database_encryption"] = gcp.container.ClusterDatabaseEncryptionArgs(state="ENCRYPTED", key_name=key)
        if settings.maintenance is not None:
            more["maintenance_policy"] = self._maintenance(settings.maintenance)
        if settings.security_group is not None:
            more["authenticator_groups_config"] = gcp.container.ClusterAuthenticatorGroupsConfigArgs(security_group=settings.security_group)
        if settings.version is not None:
            more["min_master_version"] = settings.version
        return gcp.container.Cluster(
            name,
            name=settings.name,
            project=settings.project,
            location=settings.location,
            # Of a zonal cluster these are the zones besides its own, of a regional one all.
            node_locations=further or None,
            network=network.network,
            subnetwork=network.subnetwork,
            networking_mode="VPC_NATIVE",
            ip_allocation_policy=gcp.container.ClusterIpAllocationPolicyArgs(
                cluster_secondary_range_name=network.pod_range, services_secondary_range_name=network.service_range
            ),
            default_max_pods_per_node=settings.pods_per_node,
            datapath_provider="ADVANCED_DATAPATH" if settings.dataplane_v2 else "LEGACY_DATAPATH",
            remove_default_node_pool=True,
            initial_node_count=1,
            # Of the pool that goes at once: without an account it would take Compute Engine's default one, which many projects have not,
            # and its disks of 100 GB in each zone would count against a new project's 500 GB of SSD.
            node_config=gcp.container.ClusterNodeConfigArgs(
                machine_type="e2-standard-2", disk_type="pd-standard", disk_size_gb=32, service_account=service_account
            ),
            deletion_protection=settings.deletion_protection,
            release_channel=gcp.container.ClusterReleaseChannelArgs(channel=settings.release_channel.upper()),
            workload_identity_config=gcp.container.ClusterWorkloadIdentityConfigArgs(workload_pool=f"{settings.project}.svc.id.goog"),
            enable_shielded_nodes=True,
            private_cluster_config=gcp.container.ClusterPrivateClusterConfigArgs(
                enable_private_nodes=True,
                enable_private_endpoint=not settings.endpoint.public,
                master_ipv4_cidr_block=network.control_plane,
                master_global_access_config=gcp.container.ClusterPrivateClusterConfigMasterGlobalAccessConfigArgs(enabled=True),
            ),
            master_authorized_networks_config=gcp.container.ClusterMasterAuthorizedNetworksConfigArgs(
                gcp_public_cidrs_access_enabled=False,
                cidr_blocks=[
                    gcp.container.ClusterMasterAuthorizedNetworksConfigCidrBlockArgs(cidr_block=cidr)
                    for cidr in settings.endpoint.public_cidrs
                ],
            ),
            control_plane_endpoints_config=gcp.container.ClusterControlPlaneEndpointsConfigArgs(
                dns_endpoint_config=gcp.container.ClusterControlPlaneEndpointsConfigDnsEndpointConfigArgs(
                    allow_external_traffic=settings.endpoint.dns
                ),
                ip_endpoints_config=gcp.container.ClusterControlPlaneEndpointsConfigIpEndpointsConfigArgs(enabled=True),
            ),
            addons_config=gcp.container.ClusterAddonsConfigArgs(
                horizontal_pod_autoscaling=gcp.container.ClusterAddonsConfigHorizontalPodAutoscalingArgs(disabled=False),
                http_load_balancing=gcp.container.ClusterAddonsConfigHttpLoadBalancingArgs(disabled=False),
                gce_persistent_disk_csi_driver_config=gcp.container.ClusterAddonsConfigGcePersistentDiskCsiDriverConfigArgs(enabled=True),
                dns_cache_config=gcp.container.ClusterAddonsConfigDnsCacheConfigArgs(enabled=True),
            ),
            cluster_autoscaling=gcp.container.ClusterClusterAutoscalingArgs(
                enabled=False,  # no node pools of GKE's own making; and no resource limits, which would bound ours too
                autoscaling_profile="OPTIMIZE_UTILIZATION" if settings.autoscaling_profile == "optimizeUtilization" else "BALANCED",
            ),
            node_pool_defaults=gcp.container.ClusterNodePoolDefaultsArgs(
                node_config_defaults=gcp.container.ClusterNodePoolDefaultsNodeConfigDefaultsArgs(
                    insecure_kubelet_readonly_port_enabled="FALSE"
                )
            ),
            logging_config=gcp.container.ClusterLoggingConfigArgs(enable_components=log_components(settings.logs)),
            monitoring_config=self._monitoring(),
            resource_labels=self._labels,
            **more,
            opts=pulumi.ResourceOptions.merge(
                self._child,
                pulumi.ResourceOptions(
                    ignore_changes=["nodeConfig"],
                    protect=settings.deletion_protection or None,
                    custom_timeouts=pulumi.CustomTimeouts(create="60m", update="90m", delete="60m"),
                ),
            ),
        )

    def _monitoring(self) -> gcp.container.ClusterMonitoringConfigArgs:
        settings = self._settings
        return gcp.container.ClusterMonitoringConfigArgs(
            enable_components=monitoring_components(settings.monitoring),
            managed_prometheus=gcp.container.ClusterMonitoringConfigManagedPrometheusArgs(enabled=settings.managed_prometheus),
        )

    def _maintenance(self, settings: MaintenanceSettings) -> gcp.container.ClusterMaintenancePolicyArgs:
        start, end, recurrence = window(settings)
        return gcp.container.ClusterMaintenancePolicyArgs(
            recurring_window=gcp.container.ClusterMaintenancePolicyRecurringWindowArgs(
                start_time=start, end_time=end, recurrence=recurrence
            ),
            maintenance_exclusions=[
                gcp.container.ClusterMaintenancePolicyMaintenanceExclusionArgs(
                    exclusion_name=exclusion.name,
                    start_time=exclusion.start,
                    end_time=exclusion.end,
                    exclusion_options=gcp.container.ClusterMaintenancePolicyMaintenanceExclusionExclusionOptionsArgs(
                        scope=SCOPES[exclusion.scope]
                    ),
                )
                for exclusion in settings.exclusions
            ],
        )

    def _pools(
        self, name: str, cluster: pulumi.Output[str], service_account: pulumi.Output[str], zones: Sequence[str]
    ) -> list[gcp.container.NodePool]:
        settings = self._settings
        args = NodePoolArgs(
            cluster=cluster,
            project=settings.project,
            service_account=service_account,
            network_tag=self._network_tag,
            disk_key=settings.disk_key,
            labels=self._labels,
            pods_per_node=settings.pods_per_node,
            protect=settings.deletion_protection,
        )
        return [declare(f"{name}-{plan.pool}", plan, args, self._child) for plan in node_pools(settings, zones)]

    def _kubeconfig(self, control_plane: gcp.container.Cluster) -> pulumi.Output[str]:
        name = f"gke_{self._settings.project}_{self._settings.location}_{self._settings.name}"
        if self._settings.endpoint.dns:
            return control_plane.control_plane_endpoints_config.apply(lambda config: kubeconfig(name, _dns_name(config), None))
        authority = control_plane.master_auth.apply(lambda auth: auth.cluster_ca_certificate)
        return pulumi.Output.all(control_plane.endpoint, authority).apply(lambda known: kubeconfig(name, known[0], known[1]))

    def _admins(self, name: str, provider: k8s.Provider) -> list[pulumi.Output[str]]:
        if not self._settings.admins:
            return []
        binding = k8s.rbac.v1.ClusterRoleBinding(
            f"{name}-admins",
            metadata=k8s.meta.v1.ObjectMetaArgs(name=f"{naming.PROJECT}-admins", labels=naming.labels("admins", self._settings.name)),
            role_ref=k8s.rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name="cluster-admin"),
            subjects=[
                k8s.rbac.v1.SubjectArgs(kind=subject["kind"], name=subject["name"], api_group=subject["apiGroup"])
                for subject in admin_subjects(self._settings.admins)
            ],
            opts=pulumi.ResourceOptions(parent=self, provider=provider),
        )
        return [binding.id]

    def _registry(
        self, name: str, reader: pulumi.Output[str], enabled: Sequence[pulumi.Resource], *, build_cache: bool
    ) -> ImageRegistry | None:
        settings = self._settings
        if settings.image_repository is None:
            return None
        return ArtifactRepository(
            f"{name}-images",
            ArtifactRepositoryArgs(
                settings=settings.image_repository,
                cluster=settings.name,
                project=settings.project,
                region=settings.region,
                reader=reader,
                moving_tags=build_cache,
                tags=self._labels,
                provider=self._gcp,
                depends_on=enabled,
            ),
            pulumi.ResourceOptions(parent=self),
        ).handle
