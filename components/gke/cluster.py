"""A GKE cluster: network, control plane, node pools, and the identities of nodes and pods.

Order of creation: APIs; VPC, service account with its roles, key; the control plane; all pools at once, when they have egress. The
Kubernetes provider waits for all of these and for the firewall rules that webhooks need, so that everything created through it has nodes to
run on, and is deleted while nodes still work.

GPU pools need not wait for the pool without GPUs. GKE would not taint their nodes then, but the taint is declared, exactly as GKE's own.

The pool that GKE creates with a cluster is removed at once: nothing in it could be changed later.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s

from components.base import naming
from components.base.errors import FleetError
from components.base.handles import ClusterHandle, GcpAccess, ImageRegistry
from components.base.outputs import after
from components.gke.identity import NodeAccount, NodeAccountArgs
from components.gke.network import GcpVpc, GcpVpcArgs, existing_network, find_zones, open_firewall
from components.gke.node_pools import gpu_pool, node_pools
from components.gke.registry import ArtifactRepository, ArtifactRepositoryArgs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.gke.network import GcpNetwork
    from components.gke.settings.cluster import GkeClusterSettings

PLUGIN: Final = "gke-gcloud-auth-plugin"
_COMPONENTS: Final = {"system": "SYSTEM_COMPONENTS", "api": "APISERVER", "controllerManager": "CONTROLLER_MANAGER"}
"""GKE's names of the components whose logs or metrics go to Google Cloud; the others have their own names in capitals."""


def check_plugin() -> None:
    """Check that the program exists that the kubeconfig gets tokens from. Raises FleetError."""
    if shutil.which(PLUGIN) is None:
        raise FleetError(
            f"{PLUGIN} is not on PATH: the cluster would be created, and nothing in it. "
            f"Install it (gcloud components install {PLUGIN}); previews and destroys need it too."
        )


@dataclass(frozen=True, kw_only=True)
class GkeClusterArgs:
    """Arguments of `GkeCluster`."""

    settings: GkeClusterSettings
    images: Sequence[str]
    """Images of the deployments: nodes may read the project's registry if one is in it."""
    webhook_ports: Sequence[int]
    """Ports of pods that the control plane calls: webhooks and aggregated APIs."""
    build_cache: bool = False
    """Whether builds keep their layers in the image repository."""


class GkeCluster(pulumi.ComponentResource):
    """A cluster that the stack creates. Raises FleetError if Google shows the settings to be wrong, before anything is declared."""

    handle: ClusterHandle
    registry: ImageRegistry | None = None
    """The Artifact Registry repository, if the settings ask for one."""

    def __init__(self, name: str, args: GkeClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        check_plugin()
        super().__init__(naming.type_token("cluster", "GkeCluster"), name, None, opts)
        self._name, self._settings = name, args.settings
        settings = args.settings
        self._gcp = gcp.Provider(name, project=settings.project, region=settings.region, opts=pulumi.ResourceOptions(parent=self))
        self._child = pulumi.ResourceOptions(parent=self, provider=self._gcp)
        zones = find_zones(settings, self._gcp)
        enabled = self._apis()
        network = self._network(enabled)
        nodes = NodeAccount(f"{name}-nodes", NodeAccountArgs(cluster=settings, images=args.images, depends_on=enabled), self._child)
        if settings.image_repository is not None:
            repository = ArtifactRepositoryArgs(
                settings=settings.image_repository,
                cluster=settings,
                reader=nodes.member,
                moving_tags=args.build_cache,
                depends_on=enabled,
            )
            self.registry = ArtifactRepository(f"{name}-images", repository, self._child).handle
        control_plane = self._control_plane(network, nodes.email, zones, self._secrets_key(enabled))
        # The control plane and GKE's first pool reach Google by private access; pods also pull from elsewhere, and so wait for egress.
        pools = node_pools(
            name,
            settings,
            zones,
            cluster_id=after(control_plane.id, *network.egress),
            service_account=nodes.email,
            opts=self._child,
        )
        rules = []
        if settings.network.kind == "create" or settings.network.firewall:
            rules = open_firewall(name, settings, network, args.webhook_ports, self._child)
        provider = k8s.Provider(
            name,
            kubeconfig=kubeconfig(settings, control_plane),
            # Known while the cluster stays, whatever becomes of its endpoint and certificates. Unknown once the cluster is replaced: Pulumi
            # then replaces everything in it; a fixed name would leave all objects "unchanged" in the state and missing in the new cluster.
            cluster_identifier=after(pulumi.Output.from_input(f"{settings.project}/{settings.location}/{settings.name}"), control_plane.id),
            enable_server_side_apply=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*pools, *rules]),
        )
        ready = [resource.id for resource in (*pools, *rules, *self._admins(provider))]
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

    def _apis(self) -> list[gcp.projects.Service]:
        if not self._settings.enable_apis:
            return []
        return [
            gcp.projects.Service(
                f"{self._name}-{api}",
                project=self._settings.project,
                service=f"{api}.googleapis.com",
                disable_on_destroy=False,
                opts=self._child,
            )
            for api in apis(self._settings)
        ]

    def _network(self, enabled: Sequence[pulumi.Resource]) -> GcpNetwork:
        network = self._settings.network
        if network.kind == "existing":
            return existing_network(network, self._settings, self._gcp)
        args = GcpVpcArgs(settings=network, cluster=self._settings, depends_on=enabled)
        return GcpVpc(f"{self._name}-vpc", args, self._child).network

    def _secrets_key(self, enabled: Sequence[pulumi.Resource]) -> pulumi.Output[str] | None:
        """Create the key for Secrets, or take the existing one; it resolves once GKE's service agent may use it."""
        settings, name = self._settings, f"{self._name}-secrets"
        if settings.secrets_key == "none":
            return None
        waiting = pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=list(enabled)))
        key = pulumi.Output.from_input(settings.secrets_key)
        if settings.secrets_key == "create":
            # No fixed name: a ring can't be deleted, and the next stack of this name could not create it again.
            ring = gcp.kms.KeyRing(name, project=settings.project, location=settings.region, opts=waiting)
            key = gcp.kms.CryptoKey(
                name,
                key_ring=ring.id,
                purpose="ENCRYPT_DECRYPT",
                rotation_period=f"{90 * 86400}s",
                labels=settings.labels,
                opts=self._child,
            ).id
        number = gcp.organizations.get_project_output(
            project_id=settings.project,
            # Needs an API that the stack may only be about to enable.
            opts=pulumi.InvokeOutputOptions(provider=self._gcp, depends_on=list(enabled)),
        ).number
        allowed = gcp.kms.CryptoKeyIAMMember(
            name,
            crypto_key_id=key,
            role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
            member=pulumi.Output.concat("serviceAccount:service-", number, "@container-engine-robot.iam.gserviceaccount.com"),
            opts=waiting,
        )
        return after(key, allowed.id)

    def _control_plane(
        self, network: GcpNetwork, service_account: pulumi.Output[str], zones: Sequence[str], key: pulumi.Output[str] | None
    ) -> gcp.container.Cluster:
        settings = self._settings
        return gcp.container.Cluster(
            self._name,
            name=settings.name,
            project=settings.project,
            location=settings.location,
            min_master_version=settings.version,
            # In a zonal cluster the zones besides its own, in a regional one all.
            node_locations=[zone for zone in zones if zone != settings.zone] or None,
            network=network.network,
            subnetwork=network.subnetwork,
            networking_mode="VPC_NATIVE",
            ip_allocation_policy={
                "cluster_secondary_range_name": network.pod_range,
                "services_secondary_range_name": network.service_range,
            },
            default_max_pods_per_node=settings.pods_per_node,
            datapath_provider="ADVANCED_DATAPATH" if settings.dataplane_v2 else "LEGACY_DATAPATH",
            remove_default_node_pool=True,
            initial_node_count=1,
            # For the pool that is removed at once. Without this, it would use Compute Engine's default, which many projects don't have;
            # its default disks of 100 GB in each zone would count against a new project's 500 GB of SSD.
            node_config={
                "machine_type": "e2-standard-2",
                "disk_type": "pd-standard",
                "disk_size_gb": 32,
                "service_account": service_account,
            },
            deletion_protection=settings.deletion_protection,
            release_channel={"channel": settings.release_channel.upper()},
            maintenance_policy=None if settings.maintenance is None else settings.maintenance.policy,
            workload_identity_config={"workload_pool": f"{settings.project}.svc.id.goog"},
            authenticator_groups_config=None if settings.security_group is None else {"security_group": settings.security_group},
            database_encryption=None if key is None else {"state": "ENCRYPTED", "key_name": key},
            enable_shielded_nodes=True,
            private_cluster_config={
                "enable_private_nodes": True,
                "enable_private_endpoint": not settings.endpoint.public,
                "master_ipv4_cidr_block": network.control_plane,
                "master_global_access_config": {"enabled": True},
            },
            master_authorized_networks_config={
                "gcp_public_cidrs_access_enabled": False,
                "cidr_blocks": [{"cidr_block": cidr} for cidr in settings.endpoint.public_cidrs],
            },
            control_plane_endpoints_config={
                "dns_endpoint_config": {"allow_external_traffic": settings.endpoint.dns},
                "ip_endpoints_config": {"enabled": True},
            },
            addons_config={
                "horizontal_pod_autoscaling": {"disabled": False},
                "http_load_balancing": {"disabled": False},
                "gce_persistent_disk_csi_driver_config": {"enabled": True},
                "dns_cache_config": {"enabled": True},
            },
            cluster_autoscaling={
                "enabled": False,  # no node pools of GKE's own, and no resource limits, which would apply to these pools too
                "autoscaling_profile": "OPTIMIZE_UTILIZATION" if settings.autoscaling_profile == "optimizeUtilization" else "BALANCED",
            },
            node_pool_defaults={"node_config_defaults": {"insecure_kubelet_readonly_port_enabled": "FALSE"}},
            logging_config={"enable_components": _component_names(settings.logs)},
            monitoring_config={
                "enable_components": _component_names(settings.monitoring),
                "managed_prometheus": {"enabled": settings.managed_prometheus},
            },
            resource_labels=settings.labels,
            opts=pulumi.ResourceOptions.merge(
                self._child,
                pulumi.ResourceOptions(
                    # Both apply only to GKE's first pool; the pools of the stack have their own, and a change would replace the cluster.
                    ignore_changes=["nodeConfig", "defaultMaxPodsPerNode"],
                    protect=settings.deletion_protection or None,
                    # Two clusters can't have one name, and what is in the cluster goes before it.
                    delete_before_replace=True,
                    custom_timeouts=pulumi.CustomTimeouts(create="60m", update="90m", delete="60m"),
                ),
            ),
        )

    def _admins(self, provider: k8s.Provider) -> list[k8s.rbac.v1.ClusterRoleBinding]:
        if not self._settings.admins:
            return []
        binding = k8s.rbac.v1.ClusterRoleBinding(
            f"{self._name}-admins",
            metadata={"name": f"{naming.PROJECT}-admins", "labels": naming.labels("admins", self._settings.name)},
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            # GKE knows Google's accounts by their e-mail addresses.
            subjects=[
                {"kind": "Group" if kind == "group" else "User", "name": address, "api_group": "rbac.authorization.k8s.io"}
                for kind, address in (member.split(":", maxsplit=1) for member in self._settings.admins)
            ],
            opts=pulumi.ResourceOptions(parent=self, provider=provider),
        )
        return [binding]


def apis(settings: GkeClusterSettings) -> tuple[str, ...]:
    """Return the Google APIs that the stack uses, without ``.googleapis.com``."""
    streaming = any(pool.streams for pool in settings.gpu_pools)
    names = ["compute", "container", "iam", "iamcredentials", "cloudresourcemanager", "storage", "logging", "monitoring"]
    if settings.image_repository is not None or streaming:
        names.append("artifactregistry")
    if streaming:
        names.append("containerfilesystem")
    if settings.secrets_key != "none" or settings.disk_key is not None:
        names.append("cloudkms")
    return tuple(names)


def _component_names(parts: Sequence[str]) -> list[str]:
    return [_COMPONENTS.get(part, part.upper()) for part in parts]


def kubeconfig(settings: GkeClusterSettings, control_plane: gcp.container.Cluster) -> pulumi.Output[str]:
    """Return a kubeconfig (JSON) that gets tokens from Google's plugin: a token in it would expire after an hour."""
    name = f"gke_{settings.project}_{settings.location}_{settings.name}"
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": PLUGIN,
        "installHint": f"gcloud components install {PLUGIN}",
        "provideClusterInfo": True,
        "interactiveMode": "Never",
    }
    cluster: dict[str, pulumi.Input[str]]
    if settings.endpoint.dns:  # its certificate is publicly trusted
        dns = control_plane.control_plane_endpoints_config.dns_endpoint_config.endpoint
        cluster = {"server": pulumi.Output.concat("https://", dns)}
    else:
        authority = control_plane.master_auth.cluster_ca_certificate
        cluster = {"server": pulumi.Output.concat("https://", control_plane.endpoint), "certificate-authority-data": authority}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": cluster}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "users": [{"name": name, "user": {"exec": plugin}}],
    }
    return pulumi.Output.json_dumps(content, sort_keys=True)
