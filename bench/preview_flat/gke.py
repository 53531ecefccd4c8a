"""The resources of Pulumi.gke.yaml, registered by one flat file: what `bench/preview` holds the fleet against.

Written once from what the fleet registers; the benchmark checks that both still register the same resources.
"""

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s

from components.repository.sync import ReleaseProvider

CONFIG = pulumi.Config()
ROOT = CONFIG.require("root")
CHARTS = CONFIG.require("charts")


class Release(pulumi.dynamic.Resource, module="repository", name="Release"):
    """The models' release."""

    digest: pulumi.Output[object]
    url: pulumi.Output[object]


def of_the_chart(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
    """Set a Deployment's replicas when it is created only."""
    if args.type_ != "kubernetes:apps/v1:Deployment":
        return None
    return pulumi.ResourceTransformResult(
        props=args.props, opts=pulumi.ResourceOptions.merge(args.opts, pulumi.ResourceOptions(ignore_changes=["spec.replicas"]))
    )


cluster = gcp.Provider("cluster", region="us-central1", project="my-project")
cluster_container = gcp.projects.Service(
    "cluster-container",
    disable_on_destroy=False,
    service="container.googleapis.com",
    project="my-project",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_iam = gcp.projects.Service(
    "cluster-iam",
    disable_on_destroy=False,
    service="iam.googleapis.com",
    project="my-project",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_iamcredentials = gcp.projects.Service(
    "cluster-iamcredentials",
    disable_on_destroy=False,
    service="iamcredentials.googleapis.com",
    project="my-project",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_compute = gcp.projects.Service(
    "cluster-compute",
    disable_on_destroy=False,
    service="compute.googleapis.com",
    project="my-project",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_logging = gcp.projects.Service(
    "cluster-logging",
    disable_on_destroy=False,
    service="logging.googleapis.com",
    project="my-project",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_monitoring = gcp.projects.Service(
    "cluster-monitoring",
    disable_on_destroy=False,
    service="monitoring.googleapis.com",
    project="my-project",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_storage = gcp.projects.Service(
    "cluster-storage",
    disable_on_destroy=False,
    service="storage.googleapis.com",
    project="my-project",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_cloudresourcemanager = gcp.projects.Service(
    "cluster-cloudresourcemanager",
    disable_on_destroy=False,
    service="cloudresourcemanager.googleapis.com",
    project="my-project",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_artifactregistry = gcp.projects.Service(
    "cluster-artifactregistry",
    disable_on_destroy=False,
    service="artifactregistry.googleapis.com",
    project="my-project",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_cloudkms = gcp.projects.Service(
    "cluster-cloudkms",
    disable_on_destroy=False,
    service="cloudkms.googleapis.com",
    project="my-project",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_containerfilesystem = gcp.projects.Service(
    "cluster-containerfilesystem",
    disable_on_destroy=False,
    service="containerfilesystem.googleapis.com",
    project="my-project",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_secrets = gcp.kms.KeyRing(
    "cluster-secrets",
    location="us-central1",
    project="my-project",
    opts=pulumi.ResourceOptions(
        provider=cluster,
        depends_on=[
            cluster_artifactregistry,
            cluster_cloudkms,
            cluster_cloudresourcemanager,
            cluster_compute,
            cluster_container,
            cluster_containerfilesystem,
            cluster_iam,
            cluster_iamcredentials,
            cluster_logging,
            cluster_monitoring,
            cluster_storage,
        ],
    ),
)
cluster_vpc = gcp.compute.Network(
    "cluster-vpc",
    routing_mode="REGIONAL",
    auto_create_subnetworks=False,
    description="VPC of the GKE cluster triton-gke",
    project="my-project",
    name="triton-gke",
    opts=pulumi.ResourceOptions(
        provider=cluster,
        depends_on=[
            cluster_artifactregistry,
            cluster_cloudkms,
            cluster_cloudresourcemanager,
            cluster_compute,
            cluster_container,
            cluster_containerfilesystem,
            cluster_iam,
            cluster_iamcredentials,
            cluster_logging,
            cluster_monitoring,
            cluster_storage,
        ],
    ),
)
cluster_nodes = gcp.serviceaccount.Account(
    "cluster-nodes",
    display_name="Nodes of the GKE cluster triton-gke",
    account_id="triton-gke-nodes",
    project="my-project",
    opts=pulumi.ResourceOptions(
        provider=cluster,
        depends_on=[
            cluster_artifactregistry,
            cluster_cloudkms,
            cluster_cloudresourcemanager,
            cluster_compute,
            cluster_container,
            cluster_containerfilesystem,
            cluster_iam,
            cluster_iamcredentials,
            cluster_logging,
            cluster_monitoring,
            cluster_storage,
        ],
    ),
)
repository = gcp.storage.Bucket(
    "repository",
    location="US-CENTRAL1",
    public_access_prevention="enforced",
    uniform_bucket_level_access=True,
    labels={"project": "triton"},
    lifecycle_rules=[
        gcp.storage.BucketLifecycleRuleArgs(
            condition=gcp.storage.BucketLifecycleRuleConditionArgs(age=7),
            action=gcp.storage.BucketLifecycleRuleActionArgs(type="AbortIncompleteMultipartUpload"),
        )
    ],
    project="my-project",
    name="triton-gke-models",
    opts=pulumi.ResourceOptions(provider=cluster),
)
triton_reader = gcp.serviceaccount.Account(
    "triton-reader",
    display_name="Models of triton/triton in the GKE cluster triton-gke",
    account_id="triton-gke-triton-reader",
    project="my-project",
    opts=pulumi.ResourceOptions(provider=cluster),
)
crypto_key_cluster_secrets = gcp.kms.CryptoKey(
    "cluster-secrets",
    purpose="ENCRYPT_DECRYPT",
    labels={"triton-fleet-cluster": "triton-gke", "project": "triton"},
    key_ring=cluster_secrets.id,
    rotation_period="7776000s",
    opts=pulumi.ResourceOptions(provider=cluster),
)
subnetwork_cluster_vpc = gcp.compute.Subnetwork(
    "cluster-vpc",
    region="us-central1",
    private_ip_google_access=True,
    secondary_ip_ranges=[
        gcp.compute.SubnetworkSecondaryIpRangeArgs(range_name="pods", ip_cidr_range="10.0.128.0/17"),
        gcp.compute.SubnetworkSecondaryIpRangeArgs(range_name="services", ip_cidr_range="10.0.64.0/19"),
    ],
    network=cluster_vpc.id,
    ip_cidr_range="10.0.0.0/18",
    project="my-project",
    name="triton-gke",
    opts=pulumi.ResourceOptions(provider=cluster),
)
router_cluster_vpc = gcp.compute.Router(
    "cluster-vpc",
    region="us-central1",
    network=cluster_vpc.id,
    project="my-project",
    name="triton-gke",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_webhooks = gcp.compute.Firewall(
    "cluster-webhooks",
    allows=[gcp.compute.FirewallAllowArgs(ports=["6443", "10250", "15017"], protocol="tcp")],
    direction="INGRESS",
    description="Control plane to webhooks and aggregated APIs that run in pods",
    source_ranges=["10.0.127.240/28"],
    network=cluster_vpc.self_link,
    target_tags=["triton-gke-node"],
    project="my-project",
    name="triton-gke-webhooks",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_health_checks = gcp.compute.Firewall(
    "cluster-health-checks",
    allows=[gcp.compute.FirewallAllowArgs(ports=["8000", "8001", "8080", "10256", "15021", "30000-32767"], protocol="tcp")],
    direction="INGRESS",
    description="Health checks of Google's load balancers",
    source_ranges=["35.191.0.0/16", "130.211.0.0/22", "209.85.152.0/22", "209.85.204.0/22"],
    network=cluster_vpc.self_link,
    target_tags=["triton-gke-node"],
    project="my-project",
    name="triton-gke-health-checks",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_nodes_serviceusage_service_usage_consumer = gcp.projects.IAMMember(
    "cluster-nodes-serviceusage.serviceUsageConsumer",
    member=cluster_nodes.member,
    role="roles/serviceusage.serviceUsageConsumer",
    project="my-project",
    opts=pulumi.ResourceOptions(provider=cluster),
)
release_repository = Release(
    ReleaseProvider(),
    "repository",
    {
        "digest": "4ca3606a69d4a846128241564e506cf12c344cf19f2488dce51d4c16e8bae019",
        "region": "us-east-1",
        "source": f"{ROOT}/models",
        f"{ROOT}/models": {"fil_xgboost": "4ca3606a69d4a846128241564e506cf12c344cf19f2488dce51d4c16e8bae019"},
        "createBucket": "cloud",
        "prefix": f"{ROOT}/models",
        "owner": "None.triton-fleet.gke.repository",
        "bucket": "triton-gke-models",
        "project": "my-project",
        "url": "gs://triton-gke-models/models",
        "location": "us-central1",
        "mode": "release",
        "store": "gcs",
        "keep": 3,
        "verify": False,
        "display": "",
        "name": None,
        "previous": None,
    },
    opts=pulumi.ResourceOptions(depends_on=[repository]),
)
cluster_nodes_container_default_node_service_account = gcp.projects.IAMMember(
    "cluster-nodes-container.defaultNodeServiceAccount",
    member=cluster_nodes.member,
    role="roles/container.defaultNodeServiceAccount",
    project="my-project",
    opts=pulumi.ResourceOptions(provider=cluster),
)
crypto_key_iammember_cluster_secrets = gcp.kms.CryptoKeyIAMMember(
    "cluster-secrets",
    member="serviceAccount:service-111122223333@container-engine-robot.iam.gserviceaccount.com",
    role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
    crypto_key_id=crypto_key_cluster_secrets.id,
    opts=pulumi.ResourceOptions(
        provider=cluster,
        depends_on=[
            cluster_artifactregistry,
            cluster_cloudkms,
            cluster_cloudresourcemanager,
            cluster_compute,
            cluster_container,
            cluster_containerfilesystem,
            cluster_iam,
            cluster_iamcredentials,
            cluster_logging,
            cluster_monitoring,
            cluster_storage,
        ],
    ),
)
triton_reader_objects = gcp.storage.BucketIAMMember(
    "triton-reader-objects",
    condition=gcp.storage.BucketIAMMemberConditionArgs(
        expression='resource.name.startsWith("projects/_/buckets/triton-gke-models/objects/models/") || api.getAttribute("storage.googleapis.com/objectListPrefix", "").startsWith("models/")',
        description="What is below models/",
        title=f"{ROOT}/models",
    ),
    member=triton_reader.member,
    role="roles/storage.objectViewer",
    bucket="triton-gke-models",
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[release_repository]),
)
router_nat_cluster_vpc = gcp.compute.RouterNat(
    "cluster-vpc",
    region="us-central1",
    log_config=gcp.compute.RouterNatLogConfigArgs(filter="ERRORS_ONLY", enable=True),
    subnetworks=[gcp.compute.RouterNatSubnetworkArgs(source_ip_ranges_to_nats=["ALL_IP_RANGES"], name=subnetwork_cluster_vpc.id)],
    source_subnetwork_ip_ranges_to_nat="LIST_OF_SUBNETWORKS",
    nat_ip_allocate_option="AUTO_ONLY",
    router="triton-gke",
    project="my-project",
    name="triton-gke",
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[router_cluster_vpc]),
)
triton_reader_bucket = gcp.storage.BucketIAMMember(
    "triton-reader-bucket",
    member=triton_reader.member,
    role="roles/storage.legacyBucketReader",
    bucket="triton-gke-models",
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[release_repository]),
)
cluster_cluster = gcp.container.Cluster(
    "cluster",
    node_pool_defaults=gcp.container.ClusterNodePoolDefaultsArgs(
        node_config_defaults=gcp.container.ClusterNodePoolDefaultsNodeConfigDefaultsArgs(insecure_kubelet_readonly_port_enabled="FALSE")
    ),
    master_authorized_networks_config=gcp.container.ClusterMasterAuthorizedNetworksConfigArgs(
        cidr_blocks=[gcp.container.ClusterMasterAuthorizedNetworksConfigCidrBlockArgs(cidr_block="203.0.113.0/24")],
        gcp_public_cidrs_access_enabled=False,
    ),
    workload_identity_config=gcp.container.ClusterWorkloadIdentityConfigArgs(workload_pool="my-project.svc.id.goog"),
    ip_allocation_policy=gcp.container.ClusterIpAllocationPolicyArgs(
        cluster_secondary_range_name="pods", services_secondary_range_name="services"
    ),
    datapath_provider="ADVANCED_DATAPATH",
    private_cluster_config=gcp.container.ClusterPrivateClusterConfigArgs(
        master_global_access_config=gcp.container.ClusterPrivateClusterConfigMasterGlobalAccessConfigArgs(enabled=True),
        master_ipv4_cidr_block="10.0.127.240/28",
        enable_private_endpoint=False,
        enable_private_nodes=True,
    ),
    resource_labels={"triton-fleet-cluster": "triton-gke", "project": "triton"},
    monitoring_config=gcp.container.ClusterMonitoringConfigArgs(
        managed_prometheus=gcp.container.ClusterMonitoringConfigManagedPrometheusArgs(enabled=False),
        enable_components=["SYSTEM_COMPONENTS"],
    ),
    database_encryption=gcp.container.ClusterDatabaseEncryptionArgs(key_name=crypto_key_cluster_secrets.id, state="ENCRYPTED"),
    initial_node_count=1,
    logging_config=gcp.container.ClusterLoggingConfigArgs(enable_components=["SYSTEM_COMPONENTS", "WORKLOADS"]),
    control_plane_endpoints_config=gcp.container.ClusterControlPlaneEndpointsConfigArgs(
        dns_endpoint_config=gcp.container.ClusterControlPlaneEndpointsConfigDnsEndpointConfigArgs(allow_external_traffic=False),
        ip_endpoints_config=gcp.container.ClusterControlPlaneEndpointsConfigIpEndpointsConfigArgs(enabled=True),
    ),
    enable_shielded_nodes=True,
    project="my-project",
    location="us-central1-a",
    deletion_protection=False,
    subnetwork=subnetwork_cluster_vpc.self_link,
    networking_mode="VPC_NATIVE",
    release_channel=gcp.container.ClusterReleaseChannelArgs(channel="RAPID"),
    node_config=gcp.container.ClusterNodeConfigArgs(
        service_account=cluster_nodes.email, disk_size_gb=32, machine_type="e2-standard-2", disk_type="pd-standard"
    ),
    network=cluster_vpc.self_link,
    cluster_autoscaling=gcp.container.ClusterClusterAutoscalingArgs(enabled=False, autoscaling_profile="BALANCED"),
    default_max_pods_per_node=64,
    remove_default_node_pool=True,
    addons_config=gcp.container.ClusterAddonsConfigArgs(
        http_load_balancing=gcp.container.ClusterAddonsConfigHttpLoadBalancingArgs(disabled=False),
        dns_cache_config=gcp.container.ClusterAddonsConfigDnsCacheConfigArgs(enabled=True),
        gce_persistent_disk_csi_driver_config=gcp.container.ClusterAddonsConfigGcePersistentDiskCsiDriverConfigArgs(enabled=True),
        horizontal_pod_autoscaling=gcp.container.ClusterAddonsConfigHorizontalPodAutoscalingArgs(disabled=False),
    ),
    name="triton-gke",
    opts=pulumi.ResourceOptions(
        provider=cluster,
        depends_on=[
            cluster_nodes_container_default_node_service_account,
            cluster_nodes_serviceusage_service_usage_consumer,
            crypto_key_iammember_cluster_secrets,
        ],
        ignore_changes=["nodeConfig"],
        custom_timeouts=pulumi.CustomTimeouts(create="60m", update="90m", delete="60m"),
    ),
)
cluster_accel = gcp.container.NodePool(
    "cluster-accel",
    max_pods_per_node=64,
    autoscaling=gcp.container.NodePoolAutoscalingArgs(location_policy="ANY", total_max_node_count=3, total_min_node_count=1),
    management=gcp.container.NodePoolManagementArgs(auto_repair=True, auto_upgrade=True),
    cluster=cluster_cluster.id,
    network_config=gcp.container.NodePoolNetworkConfigArgs(enable_private_nodes=True),
    node_config=gcp.container.NodePoolNodeConfigArgs(
        shielded_instance_config=gcp.container.NodePoolNodeConfigShieldedInstanceConfigArgs(
            enable_integrity_monitoring=True, enable_secure_boot=True
        ),
        gcfs_config=gcp.container.NodePoolNodeConfigGcfsConfigArgs(enabled=True),
        labels={"triton-fleet/pool": "accel", "nvidia.com/gpu.present": "true"},
        resource_labels={"triton-fleet-cluster": "triton-gke", "project": "triton"},
        gvnic=gcp.container.NodePoolNodeConfigGvnicArgs(enabled=True),
        machine_type="n1-standard-4",
        guest_accelerators=[
            gcp.container.NodePoolNodeConfigGuestAcceleratorArgs(
                gpu_driver_installation_config=gcp.container.NodePoolNodeConfigGuestAcceleratorGpuDriverInstallationConfigArgs(
                    gpu_driver_version="DEFAULT"
                ),
                type="nvidia-tesla-t4",
                count=1,
            )
        ],
        tags=["triton-gke-node"],
        oauth_scopes=["https://www.googleapis.com/auth/cloud-platform"],
        image_type="COS_CONTAINERD",
        spot=False,
        taints=[gcp.container.NodePoolNodeConfigTaintArgs(effect="NO_SCHEDULE", value="present", key="nvidia.com/gpu")],
        boot_disk=gcp.container.NodePoolNodeConfigBootDiskArgs(size_gb=100, disk_type="pd-balanced"),
        workload_metadata_config=gcp.container.NodePoolNodeConfigWorkloadMetadataConfigArgs(mode="GKE_METADATA"),
        service_account=cluster_nodes.email,
    ),
    upgrade_settings=gcp.container.NodePoolUpgradeSettingsArgs(max_unavailable=1, max_surge=0, strategy="SURGE"),
    node_locations=["us-central1-a"],
    initial_node_count=2,
    project="my-project",
    name="accel-9e8c3f",
    opts=pulumi.ResourceOptions(
        provider=cluster,
        depends_on=[
            cluster_nodes_container_default_node_service_account,
            cluster_nodes_serviceusage_service_usage_consumer,
            router_nat_cluster_vpc,
        ],
        ignore_changes=["initialNodeCount", "nodeCount"],
        custom_timeouts=pulumi.CustomTimeouts(create="90m", update="2h", delete="60m"),
    ),
)
cluster_cpu = gcp.container.NodePool(
    "cluster-cpu",
    max_pods_per_node=64,
    autoscaling=gcp.container.NodePoolAutoscalingArgs(location_policy="BALANCED", total_max_node_count=3, total_min_node_count=1),
    management=gcp.container.NodePoolManagementArgs(auto_repair=True, auto_upgrade=True),
    cluster=cluster_cluster.id,
    network_config=gcp.container.NodePoolNetworkConfigArgs(enable_private_nodes=True),
    node_config=gcp.container.NodePoolNodeConfigArgs(
        shielded_instance_config=gcp.container.NodePoolNodeConfigShieldedInstanceConfigArgs(
            enable_integrity_monitoring=True, enable_secure_boot=True
        ),
        oauth_scopes=["https://www.googleapis.com/auth/cloud-platform"],
        workload_metadata_config=gcp.container.NodePoolNodeConfigWorkloadMetadataConfigArgs(mode="GKE_METADATA"),
        labels={"triton-fleet/pool": "cpu"},
        image_type="COS_CONTAINERD",
        resource_labels={"triton-fleet-cluster": "triton-gke", "project": "triton"},
        spot=False,
        gvnic=gcp.container.NodePoolNodeConfigGvnicArgs(enabled=True),
        machine_type="n1-standard-8",
        taints=[],
        boot_disk=gcp.container.NodePoolNodeConfigBootDiskArgs(size_gb=80, disk_type="pd-balanced"),
        service_account=cluster_nodes.email,
        tags=["triton-gke-node"],
    ),
    upgrade_settings=gcp.container.NodePoolUpgradeSettingsArgs(max_unavailable=0, max_surge=1, strategy="SURGE"),
    node_locations=["us-central1-a"],
    initial_node_count=1,
    project="my-project",
    name="cpu-d20dcb",
    opts=pulumi.ResourceOptions(
        provider=cluster,
        depends_on=[
            cluster_nodes_container_default_node_service_account,
            cluster_nodes_serviceusage_service_usage_consumer,
            router_nat_cluster_vpc,
        ],
        ignore_changes=["initialNodeCount", "nodeCount"],
        custom_timeouts=pulumi.CustomTimeouts(create="90m", update="2h", delete="60m"),
    ),
)
iammember_triton_reader = gcp.serviceaccount.IAMMember(
    "triton-reader",
    member="serviceAccount:my-project.svc.id.goog[triton/triton]",
    role="roles/iam.workloadIdentityUser",
    service_account_id=triton_reader.name,
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[cluster_cluster]),
)
kubernetes_cluster = k8s.Provider(
    "cluster",
    enable_server_side_apply=True,
    kubeconfig=pulumi.Output.json_dumps(
        {
            "apiVersion": "v1",
            "clusters": [
                {
                    "cluster": {
                        "certificate-authority-data": cluster_cluster.master_auth.cluster_ca_certificate,
                        "server": pulumi.Output.concat("https://", cluster_cluster.endpoint),
                    },
                    "name": "gke_my-project_us-central1-a_triton-gke",
                }
            ],
            "contexts": [
                {
                    "context": {"cluster": "gke_my-project_us-central1-a_triton-gke", "user": "gke_my-project_us-central1-a_triton-gke"},
                    "name": "gke_my-project_us-central1-a_triton-gke",
                }
            ],
            "current-context": "gke_my-project_us-central1-a_triton-gke",
            "kind": "Config",
            "users": [
                {
                    "name": "gke_my-project_us-central1-a_triton-gke",
                    "user": {
                        "exec": {
                            "apiVersion": "client.authentication.k8s.io/v1beta1",
                            "command": "gke-gcloud-auth-plugin",
                            "installHint": "gcloud components install gke-gcloud-auth-plugin",
                            "interactiveMode": "Never",
                            "provideClusterInfo": True,
                        }
                    },
                }
            ],
        }
    ),
    cluster_identifier="my-project/us-central1-a/triton-gke",
    opts=pulumi.ResourceOptions(depends_on=[cluster_accel, cluster_cpu, cluster_health_checks, cluster_webhooks]),
)
dcgm = k8s.core.v1.Namespace(
    "dcgm",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "dcgm-exporter",
            "pod-security.kubernetes.io/enforce": "privileged",
            "app.kubernetes.io/name": "dcgm-exporter",
        },
        name="dcgm",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
monitoring = k8s.core.v1.Namespace(
    "monitoring",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "prometheus",
            "pod-security.kubernetes.io/enforce": "privileged",
            "app.kubernetes.io/name": "prometheus",
        },
        name="monitoring",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
triton = k8s.core.v1.Namespace(
    "triton",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "pod-security.kubernetes.io/warn": "restricted",
            "app.kubernetes.io/name": "triton",
            "app.kubernetes.io/instance": "triton",
        },
        name="triton",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
istio_ingress = k8s.core.v1.Namespace(
    "istio-ingress",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "gateway",
            "pod-security.kubernetes.io/enforce": "privileged",
            "app.kubernetes.io/name": "gateway",
        },
        name="istio-ingress",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
istio_system = k8s.core.v1.Namespace(
    "istio-system",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "istio",
            "pod-security.kubernetes.io/enforce": "privileged",
            "app.kubernetes.io/name": "istio",
        },
        name="istio-system",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
triton_fleet_placeholder = k8s.scheduling.v1.PriorityClass(
    "triton-fleet-placeholder",
    value=-10,
    preemption_policy="Never",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "placeholder",
            "app.kubernetes.io/name": "placeholder",
        },
        name="triton-fleet-placeholder",
    ),
    global_default=False,
    description="Holds room on GPU nodes; gives way to everything.",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, delete_before_replace=True),
)
placeholders = k8s.core.v1.Namespace(
    "placeholders",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "placeholder",
            "pod-security.kubernetes.io/enforce": "restricted",
            "app.kubernetes.io/name": "placeholder",
        },
        name="placeholders",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
custom_metrics_stackdriver_adapter_viewer = gcp.projects.IAMMember(
    "custom-metrics-stackdriver-adapter-viewer",
    member="principal://iam.googleapis.com/projects/111122223333/locations/global/workloadIdentityPools/my-project.svc.id.goog/subject/ns/custom-metrics/sa/custom-metrics-stackdriver-adapter",
    role="roles/monitoring.viewer",
    project="my-project",
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[cluster_cluster]),
)
custom_metrics_resource_reader = k8s.rbac.v1.ClusterRole(
    "custom-metrics-resource-reader",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
        },
        name="custom-metrics-resource-reader",
    ),
    rules=[k8s.rbac.v1.PolicyRuleArgs(resources=["pods", "nodes", "nodes/stats"], verbs=["get", "list", "watch"], api_groups=[""])],
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
custom_metrics = k8s.core.v1.Namespace(
    "custom-metrics",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
        },
        name="custom-metrics",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
external_metrics_reader = k8s.rbac.v1.ClusterRole(
    "external-metrics-reader",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
        },
        name="external-metrics-reader",
    ),
    rules=[k8s.rbac.v1.PolicyRuleArgs(resources=["*"], verbs=["get", "list", "watch"], api_groups=["external.metrics.k8s.io"])],
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
dcgm_critical_pods = k8s.core.v1.ResourceQuota(
    "dcgm-critical-pods",
    spec=k8s.core.v1.ResourceQuotaSpecArgs(
        scope_selector=k8s.core.v1.ScopeSelectorArgs(
            match_expressions=[
                k8s.core.v1.ScopedResourceSelectorRequirementArgs(
                    operator="In", values=["system-node-critical", "system-cluster-critical"], scope_name="PriorityClass"
                )
            ]
        ),
        hard={"pods": "1G"},
    ),
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "dcgm-exporter",
            "app.kubernetes.io/name": "dcgm-exporter",
        },
        namespace="dcgm",
        name="critical-pods",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[dcgm]),
)
kps = k8s.helm.v3.Release(
    "kps",
    values={
        "kubeEtcd": {"enabled": False},
        "crds": {"upgradeJob": {"image": {"busybox": {"tag": "1.37"}}, "enabled": True}, "enabled": True},
        "kubeControllerManager": {"enabled": False},
        "kubeProxy": {"enabled": False},
        "alertmanager": {"enabled": True},
        "fullnameOverride": "kps",
        "prometheus": {
            "prometheusSpec": {
                "retention": "7d",
                "storageSpec": {
                    "volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "50Gi"}}, "accessModes": ["ReadWriteOnce"]}}
                },
                "retentionSize": "40960MB",
                "serviceDiscoveryRole": "EndpointSlice",
                "scrapeInterval": "15s",
                "evaluationInterval": "15s",
                "ruleSelectorNilUsesHelmValues": False,
                "probeSelectorNilUsesHelmValues": False,
                "serviceMonitorSelectorNilUsesHelmValues": False,
                "podMonitorSelectorNilUsesHelmValues": False,
                "scrapeConfigSelectorNilUsesHelmValues": False,
            },
            "service": {"type": "ClusterIP", "port": 9090},
        },
        "kubeScheduler": {"enabled": False},
        "grafana": {"enabled": True},
    },
    max_history=5,
    timeout=600,
    version="88.5.3",
    chart=f"{CHARTS}/kube-prometheus-stack",
    create_namespace=False,
    compat="true",
    atomic=True,
    namespace="monitoring",
    name="kps",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[monitoring], delete_before_replace=True),
)
istio_base = k8s.helm.v3.Release(
    "istio-base",
    values={"base": {"validationFailurePolicy": "Fail"}},
    max_history=5,
    timeout=600,
    version="1.30.3",
    chart=f"{CHARTS}/base",
    create_namespace=False,
    compat="true",
    atomic=True,
    namespace="istio-system",
    name="istio-base",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[istio_system], delete_before_replace=True),
)
k8s.apps.v1.Deployment(
    "placeholder-accel",
    spec=k8s.apps.v1.DeploymentSpecArgs(
        strategy=k8s.apps.v1.DeploymentStrategyArgs(type="Recreate"),
        template=k8s.core.v1.PodTemplateSpecArgs(
            spec=k8s.core.v1.PodSpecArgs(
                init_containers=[
                    k8s.core.v1.ContainerArgs(
                        resources=k8s.core.v1.ResourceRequirementsArgs(
                            limits={"memory": "16Mi"}, requests={"cpu": "10m", "memory": "16Mi"}
                        ),
                        command=["/bin/true"],
                        image="nvcr.io/nvidia/tritonserver:26.07-py3",
                        security_context=k8s.core.v1.SecurityContextArgs(
                            allow_privilege_escalation=False,
                            read_only_root_filesystem=True,
                            capabilities=k8s.core.v1.CapabilitiesArgs(drop=["ALL"]),
                        ),
                        image_pull_policy="IfNotPresent",
                        name="pull-0",
                    )
                ],
                priority_class_name="triton-fleet-placeholder",
                node_selector={"triton-fleet/pool": "accel"},
                security_context=k8s.core.v1.PodSecurityContextArgs(
                    run_as_group=65535,
                    run_as_user=65535,
                    run_as_non_root=True,
                    seccomp_profile=k8s.core.v1.SeccompProfileArgs(type="RuntimeDefault"),
                ),
                enable_service_links=False,
                containers=[
                    k8s.core.v1.ContainerArgs(
                        resources=k8s.core.v1.ResourceRequirementsArgs(
                            limits={"memory": "16Mi", "nvidia.com/gpu": "1"},
                            requests={"cpu": "10m", "memory": "16Mi", "nvidia.com/gpu": "1"},
                        ),
                        image="registry.k8s.io/pause:3.10",
                        security_context=k8s.core.v1.SecurityContextArgs(
                            allow_privilege_escalation=False,
                            read_only_root_filesystem=True,
                            capabilities=k8s.core.v1.CapabilitiesArgs(drop=["ALL"]),
                        ),
                        image_pull_policy="IfNotPresent",
                        name="pause",
                    )
                ],
                termination_grace_period_seconds=0,
                tolerations=[k8s.core.v1.TolerationArgs(operator="Exists", effect="NoSchedule", key="nvidia.com/gpu")],
                automount_service_account_token=False,
            ),
            metadata=k8s.meta.v1.ObjectMetaArgs(
                labels={
                    "app.kubernetes.io/managed-by": "triton-fleet",
                    "app.kubernetes.io/instance": "accel",
                    "app.kubernetes.io/name": "placeholder",
                }
            ),
        ),
        replicas=1,
        selector=k8s.meta.v1.LabelSelectorArgs(
            match_labels={
                "app.kubernetes.io/managed-by": "triton-fleet",
                "app.kubernetes.io/instance": "accel",
                "app.kubernetes.io/name": "placeholder",
            }
        ),
    ),
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="accel",
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "accel",
            "app.kubernetes.io/name": "placeholder",
        },
        namespace="placeholders",
        annotations={"pulumi.com/skipAwait": "true"},
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[placeholders, triton_fleet_placeholder]),
)
k8s.helm.v3.Release(
    "prometheus-adapter",
    values={
        "metricsRelistInterval": "15s",
        "resources": {"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "extraArguments": ["--metrics-max-age=60s"],
        "prometheus": {"port": 9090, "path": "", "url": "http://kps-prometheus.monitoring.svc"},
        "readinessProbe": {"periodSeconds": 3, "initialDelaySeconds": 2},
        "rules": {
            "custom": [
                {
                    "metricsQuery": "sum(rate(nv_inference_queue_duration_us{<<.LabelMatchers>>}[60s])) by (<<.GroupBy>>) / clamp_min(sum(rate(nv_inference_request_success{<<.LabelMatchers>>}[60s])) by (<<.GroupBy>>), 0.001) or 0 * sum(nv_inference_queue_duration_us{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
                    "seriesQuery": 'nv_inference_queue_duration_us{namespace!="",pod!=""}',
                    "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                    "name": {"matches": "^nv_inference_queue_duration_us$", "as": "avg_time_queue_us"},
                },
                {
                    "metricsQuery": "sum(avg_over_time(<<.Series>>{<<.LabelMatchers>>}[15s])) by (<<.GroupBy>>)",
                    "seriesQuery": 'nv_inference_pending_request_count{namespace!="",pod!=""}',
                    "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                    "name": {"matches": "^nv_inference_pending_request_count$", "as": "nv_inference_pending_request_count"},
                },
                {
                    "metricsQuery": "sum(rate(<<.Series>>{<<.LabelMatchers>>}[60s])) by (<<.GroupBy>>) or 0 * sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
                    "seriesQuery": 'nv_inference_request_success{namespace!="",pod!=""}',
                    "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                    "name": {"matches": "^nv_inference_request_success$", "as": "nv_inference_requests_per_second"},
                },
                {
                    "metricsQuery": "avg(avg_over_time(<<.Series>>{<<.LabelMatchers>>}[30s])) by (<<.GroupBy>>)",
                    "seriesQuery": 'DCGM_FI_DEV_GPU_UTIL{namespace!="",pod!="",service!=""}',
                    "resources": {"overrides": {"namespace": {"resource": "namespace"}, "service": {"resource": "service"}}},
                    "name": {"matches": "^DCGM_FI_DEV_GPU_UTIL$", "as": "DCGM_FI_DEV_GPU_UTIL"},
                },
            ],
            "default": False,
        },
    },
    max_history=5,
    timeout=600,
    version="5.3.0",
    chart=f"{CHARTS}/prometheus-adapter",
    create_namespace=False,
    compat="true",
    atomic=True,
    namespace="monitoring",
    name="prometheus-adapter",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[kps], delete_before_replace=True),
)
k8s.helm.v3.Release(
    "dcgm-exporter",
    values={
        "serviceMonitor": {
            "honorLabels": True,
            "interval": "1s",
            "scrapeTimeout": "1s",
            "relabelings": [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "action": "replace", "targetLabel": "kubernetes_node"}],
            "enabled": True,
        },
        "resources": {"limits": {"cpu": "500m", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "256Mi"}},
        "livenessProbe": {"periodSeconds": 10, "initialDelaySeconds": 90},
        "extraHostVolumes": [{"hostPath": "/home/kubernetes/bin/nvidia", "name": "nvidia-install-dir-host"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"operator": "Exists", "key": "cloud.google.com/gke-accelerator"}]}]
                }
            }
        },
        "securityContext": {"allowPrivilegeEscalation": True, "privileged": True},
        "fullnameOverride": "dcgm-exporter",
        "arguments": ["-f", "/etc/dcgm-exporter/default-counters.csv", "--collect-interval=1000"],
        "extraVolumeMounts": [
            {"readOnly": True, "mountPath": "/usr/local/nvidia", "name": "nvidia-install-dir-host"},
            {"subPath": "default-counters.csv", "mountPath": "/etc/dcgm-exporter/default-counters.csv", "name": "exporter-metrics-volume"},
        ],
        "tolerations": [{"operator": "Exists"}],
        "extraEnv": [
            {"value": "/usr/local/nvidia/lib64", "name": "LD_LIBRARY_PATH"},
            {"value": "device-name", "name": "DCGM_EXPORTER_KUBERNETES_GPU_ID_TYPE"},
        ],
        "readinessProbe": {"initialDelaySeconds": 5},
    },
    max_history=5,
    timeout=600,
    version="4.8.2",
    chart=f"{CHARTS}/dcgm-exporter",
    create_namespace=False,
    compat="true",
    atomic=True,
    namespace="dcgm",
    name="dcgm-exporter",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[dcgm, dcgm_critical_pods, kps], delete_before_replace=True),
)
istiod = k8s.helm.v3.Release(
    "istiod",
    values={
        "base": {"validationFailurePolicy": "Fail"},
        "meshConfig": {"defaultConfig": {"holdApplicationUntilProxyStarts": True}, "enablePrometheusMerge": True},
        "pilot": {"env": {"ENABLE_NATIVE_SIDECARS": "auto"}},
    },
    max_history=5,
    timeout=600,
    version="1.30.3",
    chart=f"{CHARTS}/istiod",
    create_namespace=False,
    compat="true",
    atomic=True,
    namespace="istio-system",
    name="istiod",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[istio_base], delete_before_replace=True),
)
cluster_role_binding_external_metrics_reader = k8s.rbac.v1.ClusterRoleBinding(
    "external-metrics-reader",
    role_ref=k8s.rbac.v1.RoleRefArgs(name="external-metrics-reader", kind="ClusterRole", api_group="rbac.authorization.k8s.io"),
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
        },
        name="external-metrics-reader",
    ),
    subjects=[k8s.rbac.v1.SubjectArgs(kind="ServiceAccount", namespace="kube-system", name="horizontal-pod-autoscaler")],
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[external_metrics_reader]),
)
chart_triton = k8s.helm.v4.Chart(
    "triton",
    chart=f"{ROOT}/charts/triton",
    values={
        "service": {"type": "ClusterIP", "annotations": {}},
        "readOnlyRootFilesystem": True,
        "resources": {"shm": "1Gi", "gpuResource": "nvidia.com/gpu", "cpu": "2", "memory": "10Gi", "gpus": 1},
        "nodeSelector": {"triton-fleet/pool": "accel"},
        "extraArgs": [],
        "imagePullPolicy": "IfNotPresent",
        "image": "nvcr.io/nvidia/tritonserver:26.07-py3",
        "prefetch": {
            "budget": 900,
            "image": "docker.io/rclone/rclone:1.75.2",
            "parallelism": 16,
            f"{ROOT}/models": [],
            "enabled": False,
            "volume": {},
        },
        "envFromSecrets": [],
        "logVerbose": 0,
        "priorityClassName": "",
        "affinity": {},
        "deploymentAnnotations": {"pulumi.com/timeoutSeconds": "1500"},
        "imagePullSecrets": [],
        "drain": {"exitTimeout": 45, "margin": 15, "preStop": 15, "recycleGrpc": True},
        "rollout": {"maxSurge": 1},
        "probes": {
            "readiness": {"periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 3},
            "liveness": {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        },
        "runtimeClassName": "",
        "disruption": {"enabled": True, "maxUnavailable": 1},
        "labels": {
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "triton",
            "app.kubernetes.io/name": "triton",
        },
        "tolerations": [],
        "podMonitor": {"interval": "5s", "labels": {}, "enabled": True},
        "modelRepository": {
            "region": "",
            "mode": "release",
            "credentialsSecret": "",
            f"{ROOT}/models": [],
            "keyFileSecret": "",
            "release": "4ca3606a69d4a846128241564e506cf12c344cf19f2488dce51d4c16e8bae019",
            "urls": ["gs://triton-gke-models/models/models/fil_xgboost-4ca3606a69d4a846"],
            "url": "",
        },
        "autoscaling": {
            "scaleDownStabilization": 300,
            "initialReplicas": 1,
            "minReplicas": 1,
            "scaleDownPodsPerMinute": 1,
            "metrics": [
                {
                    "external": {
                        "target": {"averageValue": "85", "type": "AverageValue"},
                        "metric": {
                            "selector": {
                                "matchLabels": {
                                    "resource.type": "k8s_container",
                                    "resource.labels.location": "us-central1-a",
                                    "resource.labels.container_name": "triton",
                                    "resource.labels.cluster_name": "triton-gke",
                                    "resource.labels.namespace_name": "triton",
                                }
                            },
                            "name": "kubernetes.io|container|accelerator|duty_cycle",
                        },
                    },
                    "type": "External",
                }
            ],
            "maxReplicas": 3,
            "behavior": {},
            "enabled": True,
        },
        "env": {},
        "startupBudget": 900,
        "podLabels": {},
        "runAsUser": 1000,
        "serviceAccount": {
            "waitForToken": True,
            "annotations": {"iam.gke.io/gcp-service-account": triton_reader.email},
            "create": True,
            "name": "",
        },
        "podAnnotations": {},
    },
    namespace="triton",
    name="triton",
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster,
        depends_on=[iammember_triton_reader, release_repository, triton, triton_reader_bucket, triton_reader_objects],
        transforms=[of_the_chart],
    ),
)
custom_metrics_stackdriver_adapter = k8s.core.v1.ServiceAccount(
    "custom-metrics-stackdriver-adapter",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
        },
        namespace="custom-metrics",
        name="custom-metrics-stackdriver-adapter",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[custom_metrics]),
)
triton_gateway = k8s.helm.v3.Release(
    "triton-gateway",
    values={
        "podDisruptionBudget": {"maxUnavailable": 1},
        "labels": {"istio": "triton-gateway"},
        "service": {
            "ports": [
                {"port": 15021, "targetPort": 15021, "protocol": "TCP", "name": "status-port"},
                {"port": 8000, "targetPort": 8000, "protocol": "TCP", "name": "http-triton"},
                {"port": 8001, "targetPort": 8001, "protocol": "TCP", "name": "grpc-triton"},
            ],
            "type": "LoadBalancer",
            "annotations": {"networking.gke.io/load-balancer-type": "Internal"},
        },
        "autoscaling": {"maxReplicas": 5, "minReplicas": 2, "enabled": True},
    },
    max_history=5,
    timeout=600,
    version="1.30.3",
    chart=f"{CHARTS}/gateway",
    create_namespace=False,
    compat="true",
    atomic=True,
    namespace="istio-ingress",
    name="triton-gateway",
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster,
        depends_on=[cluster_accel, cluster_cpu, cluster_health_checks, cluster_webhooks, istio_ingress, istiod],
        delete_before_replace=True,
    ),
)
custom_metrics_system_auth_delegator = k8s.rbac.v1.ClusterRoleBinding(
    "custom-metrics:system:auth-delegator",
    role_ref=k8s.rbac.v1.RoleRefArgs(name="system:auth-delegator", kind="ClusterRole", api_group="rbac.authorization.k8s.io"),
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
        },
        name="custom-metrics:system:auth-delegator",
    ),
    subjects=[k8s.rbac.v1.SubjectArgs(kind="ServiceAccount", namespace="custom-metrics", name="custom-metrics-stackdriver-adapter")],
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[custom_metrics_stackdriver_adapter]),
)
custom_metrics_auth_reader = k8s.rbac.v1.RoleBinding(
    "custom-metrics-auth-reader",
    role_ref=k8s.rbac.v1.RoleRefArgs(name="extension-apiserver-authentication-reader", kind="Role", api_group="rbac.authorization.k8s.io"),
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
        },
        namespace="kube-system",
        name="custom-metrics-auth-reader",
    ),
    subjects=[k8s.rbac.v1.SubjectArgs(kind="ServiceAccount", namespace="custom-metrics", name="custom-metrics-stackdriver-adapter")],
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[custom_metrics_stackdriver_adapter]),
)
k8s.apiextensions.CustomResource(
    "triton-route-destinationrule",
    spec={
        "trafficPolicy": {
            "outlierDetection": {
                "interval": "10s",
                "baseEjectionTime": "30s",
                "consecutiveGatewayErrors": 5,
                "maxEjectionPercent": 50,
                "consecutive5xxErrors": 5,
            },
            "connectionPool": {"http": {"maxRequestsPerConnection": 0, "http2MaxRequests": 1000}},
            "loadBalancer": {"warmup": {"duration": "60s"}, "simple": "LEAST_REQUEST"},
        },
        "host": "triton.triton.svc.cluster.local",
    },
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "triton",
            "app.kubernetes.io/name": "triton-route",
        },
        namespace="triton",
        name="triton",
    ),
    kind="DestinationRule",
    api_version="networking.istio.io/v1",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[chart_triton, triton_gateway]),
)
k8s.apiextensions.CustomResource(
    "triton-route-virtualservice",
    spec={
        "gateways": ["triton"],
        "http": [
            {
                "route": [{"destination": {"host": "triton.triton.svc.cluster.local", "port": {"number": 8001}}}],
                "timeout": "0s",
                "match": [{"port": 8001}],
            },
            {
                "route": [{"destination": {"host": "triton.triton.svc.cluster.local", "port": {"number": 8000}}}],
                "retries": {"attempts": 2, "retryOn": "connect-failure,refused-stream,unavailable", "perTryTimeout": "30s"},
                "match": [{"port": 8000}],
            },
        ],
        "hosts": ["*"],
    },
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "triton",
            "app.kubernetes.io/name": "triton-route",
        },
        namespace="triton",
        name="triton",
    ),
    kind="VirtualService",
    api_version="networking.istio.io/v1",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[chart_triton, triton_gateway]),
)
cluster_role_binding_custom_metrics_resource_reader = k8s.rbac.v1.ClusterRoleBinding(
    "custom-metrics-resource-reader",
    role_ref=k8s.rbac.v1.RoleRefArgs(name="custom-metrics-resource-reader", kind="ClusterRole", api_group="rbac.authorization.k8s.io"),
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
        },
        name="custom-metrics-resource-reader",
    ),
    subjects=[k8s.rbac.v1.SubjectArgs(kind="ServiceAccount", namespace="custom-metrics", name="custom-metrics-stackdriver-adapter")],
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster, depends_on=[custom_metrics_resource_reader, custom_metrics_stackdriver_adapter]
    ),
)
k8s.apiextensions.CustomResource(
    "triton-route-gateway",
    spec={
        "servers": [
            {"hosts": ["*"], "port": {"number": 8000, "protocol": "HTTP", "name": "http-triton"}},
            {"hosts": ["*"], "port": {"number": 8001, "protocol": "GRPC", "name": "grpc-triton"}},
        ],
        "selector": {"istio": "triton-gateway"},
    },
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "triton",
            "app.kubernetes.io/name": "triton-route",
        },
        namespace="triton",
        name="triton",
    ),
    kind="Gateway",
    api_version="networking.istio.io/v1",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[chart_triton, triton_gateway]),
)
deployment_custom_metrics_stackdriver_adapter = k8s.apps.v1.Deployment(
    "custom-metrics-stackdriver-adapter",
    spec=k8s.apps.v1.DeploymentSpecArgs(
        template=k8s.core.v1.PodTemplateSpecArgs(
            spec=k8s.core.v1.PodSpecArgs(
                containers=[
                    k8s.core.v1.ContainerArgs(
                        resources=k8s.core.v1.ResourceRequirementsArgs(
                            limits={"cpu": "250m", "memory": "200Mi"}, requests={"cpu": "250m", "memory": "200Mi"}
                        ),
                        command=[
                            "/adapter",
                            "--use-new-resource-model=true",
                            "--fallback-for-container-metrics=true",
                            "--enable-custom-metrics-api=false",
                        ],
                        image="gcr.io/gke-release/custom-metrics-stackdriver-adapter:v0.16.9-gke.0",
                        readiness_probe=k8s.core.v1.ProbeArgs(
                            period_seconds=5,
                            timeout_seconds=5,
                            http_get=k8s.core.v1.HTTPGetActionArgs(path="/healthz", scheme="HTTPS", port=443),
                            initial_delay_seconds=5,
                        ),
                        security_context=k8s.core.v1.SecurityContextArgs(allow_privilege_escalation=False),
                        image_pull_policy="IfNotPresent",
                        name="pod-custom-metrics-stackdriver-adapter",
                    )
                ],
                security_context=k8s.core.v1.PodSecurityContextArgs(seccomp_profile=k8s.core.v1.SeccompProfileArgs(type="RuntimeDefault")),
                service_account_name="custom-metrics-stackdriver-adapter",
            ),
            metadata=k8s.meta.v1.ObjectMetaArgs(
                labels={
                    "app.kubernetes.io/managed-by": "triton-fleet",
                    "app.kubernetes.io/instance": "stackdriver-adapter",
                    "run": "custom-metrics-stackdriver-adapter",
                    "app.kubernetes.io/name": "stackdriver-adapter",
                    "k8s-app": "custom-metrics-stackdriver-adapter",
                }
            ),
        ),
        replicas=1,
        selector=k8s.meta.v1.LabelSelectorArgs(
            match_labels={"run": "custom-metrics-stackdriver-adapter", "k8s-app": "custom-metrics-stackdriver-adapter"}
        ),
    ),
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
        },
        namespace="custom-metrics",
        name="custom-metrics-stackdriver-adapter",
    ),
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster,
        depends_on=[
            cluster_role_binding_custom_metrics_resource_reader,
            cluster_role_binding_external_metrics_reader,
            custom_metrics_auth_reader,
            custom_metrics_stackdriver_adapter,
            custom_metrics_stackdriver_adapter_viewer,
            custom_metrics_system_auth_delegator,
        ],
    ),
)
service_custom_metrics_stackdriver_adapter = k8s.core.v1.Service(
    "custom-metrics-stackdriver-adapter",
    spec=k8s.core.v1.ServiceSpecArgs(
        ports=[k8s.core.v1.ServicePortArgs(port=443, target_port=443, protocol="TCP", name="https")],
        type="ClusterIP",
        selector={"run": "custom-metrics-stackdriver-adapter", "k8s-app": "custom-metrics-stackdriver-adapter"},
    ),
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
        },
        namespace="custom-metrics",
        name="custom-metrics-stackdriver-adapter",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[deployment_custom_metrics_stackdriver_adapter]),
)
k8s.apiregistration.v1.APIService(
    "v1beta1.external.metrics.k8s.io",
    spec=k8s.apiregistration.v1.APIServiceSpecArgs(
        version_priority=100,
        version="v1beta1",
        group_priority_minimum=100,
        group="external.metrics.k8s.io",
        service=k8s.apiregistration.v1.ServiceReferenceArgs(
            port=443, namespace="custom-metrics", name="custom-metrics-stackdriver-adapter"
        ),
        insecure_skip_tls_verify=True,
    ),
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
        },
        name="v1beta1.external.metrics.k8s.io",
    ),
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster, depends_on=[deployment_custom_metrics_stackdriver_adapter, service_custom_metrics_stackdriver_adapter]
    ),
)
