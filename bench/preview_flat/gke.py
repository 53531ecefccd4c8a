"""The resources of Pulumi.gke.yaml, registered by one flat file: what `bench/preview` holds the fleet against.

tests/components/test_preview_flat.py fails as soon as the fleet registers another resource, or a resource with another argument.
"""

import base64
import secrets

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


cluster = gcp.Provider("cluster", project="my-project", region="us-central1")
cluster_container = gcp.projects.Service(
    "cluster-container",
    project="my-project",
    disable_on_destroy=False,
    service="container.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_iam = gcp.projects.Service(
    "cluster-iam",
    project="my-project",
    disable_on_destroy=False,
    service="iam.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_iamcredentials = gcp.projects.Service(
    "cluster-iamcredentials",
    project="my-project",
    disable_on_destroy=False,
    service="iamcredentials.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_cloudresourcemanager = gcp.projects.Service(
    "cluster-cloudresourcemanager",
    project="my-project",
    disable_on_destroy=False,
    service="cloudresourcemanager.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_storage = gcp.projects.Service(
    "cluster-storage",
    project="my-project",
    disable_on_destroy=False,
    service="storage.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_logging = gcp.projects.Service(
    "cluster-logging",
    project="my-project",
    disable_on_destroy=False,
    service="logging.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_artifactregistry = gcp.projects.Service(
    "cluster-artifactregistry",
    project="my-project",
    disable_on_destroy=False,
    service="artifactregistry.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_cloudkms = gcp.projects.Service(
    "cluster-cloudkms",
    project="my-project",
    disable_on_destroy=False,
    service="cloudkms.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_monitoring = gcp.projects.Service(
    "cluster-monitoring",
    project="my-project",
    disable_on_destroy=False,
    service="monitoring.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_containerfilesystem = gcp.projects.Service(
    "cluster-containerfilesystem",
    project="my-project",
    disable_on_destroy=False,
    service="containerfilesystem.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
repository = gcp.storage.Bucket(
    "repository",
    location="US-CENTRAL1",
    name="triton-gke-models",
    public_access_prevention="enforced",
    lifecycle_rules=[
        gcp.storage.BucketLifecycleRuleArgs(
            condition=gcp.storage.BucketLifecycleRuleConditionArgs(age=7),
            action=gcp.storage.BucketLifecycleRuleActionArgs(type="AbortIncompleteMultipartUpload"),
        )
    ],
    project="my-project",
    labels={"project": "triton"},
    uniform_bucket_level_access=True,
    opts=pulumi.ResourceOptions(provider=cluster),
)
triton_reader = gcp.serviceaccount.Account(
    "triton-reader",
    project="my-project",
    account_id="triton-gke-triton-reader",
    display_name="Models of triton/triton in the GKE cluster triton-gke",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_compute = gcp.projects.Service(
    "cluster-compute",
    project="my-project",
    disable_on_destroy=False,
    service="compute.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
release_repository = Release(
    ReleaseProvider(),
    "repository",
    {
        "keep": 3,
        "bucket": "triton-gke-models",
        "region": "us-east-1",
        "url": "gs://triton-gke-models/models",
        "prefix": "models",
        "location": "us-central1",
        "source": f"{ROOT}/models",
        "mode": "release",
        "owner": "None.triton-fleet.gke.repository",
        "project": "my-project",
        "models": {"fil_xgboost": "4ca3606a69d4a846128241564e506cf12c344cf19f2488dce51d4c16e8bae019"},
        "verify": False,
        "createBucket": "cloud",
        "digest": "4ca3606a69d4a846128241564e506cf12c344cf19f2488dce51d4c16e8bae019",
        "store": "gcs",
        "display": "",
        "name": None,
        "previous": None,
    },
    opts=pulumi.ResourceOptions(depends_on=[repository]),
)
triton_reader_objects = gcp.storage.BucketIAMMember(
    "triton-reader-objects",
    condition=gcp.storage.BucketIAMMemberConditionArgs(
        description="What is below models/",
        title="models",
        expression='resource.name.startsWith("projects/_/buckets/triton-gke-models/objects/models/") || api.getAttribute("storage.googleapis.com/objectListPrefix", "").startsWith("models/")',
    ),
    role="roles/storage.objectViewer",
    bucket="triton-gke-models",
    member=triton_reader.member,
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[release_repository]),
)
triton_reader_bucket = gcp.storage.BucketIAMMember(
    "triton-reader-bucket",
    role="roles/storage.legacyBucketReader",
    bucket="triton-gke-models",
    member=triton_reader.member,
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[release_repository]),
)
cluster_nodes = gcp.serviceaccount.Account(
    "cluster-nodes",
    project="my-project",
    account_id="triton-gke-nodes",
    display_name="Nodes of the GKE cluster triton-gke",
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
crypto_key_cluster_secrets = gcp.kms.CryptoKey(
    "cluster-secrets",
    key_ring=cluster_secrets.id,
    rotation_period="7776000s",
    purpose="ENCRYPT_DECRYPT",
    labels={"project": "triton", "triton-fleet-cluster": "triton-gke"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_nodes_container_default_node_service_account = gcp.projects.IAMMember(
    "cluster-nodes-container.defaultNodeServiceAccount",
    project="my-project",
    role="roles/container.defaultNodeServiceAccount",
    member=cluster_nodes.member,
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_nodes_serviceusage_service_usage_consumer = gcp.projects.IAMMember(
    "cluster-nodes-serviceusage.serviceUsageConsumer",
    project="my-project",
    role="roles/serviceusage.serviceUsageConsumer",
    member=cluster_nodes.member,
    opts=pulumi.ResourceOptions(provider=cluster),
)
crypto_key_iammember_cluster_secrets = gcp.kms.CryptoKeyIAMMember(
    "cluster-secrets",
    crypto_key_id=crypto_key_cluster_secrets.id,
    role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
    member="serviceAccount:service-111122223333@container-engine-robot.iam.gserviceaccount.com",
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
    description="VPC of the GKE cluster triton-gke",
    project="my-project",
    auto_create_subnetworks=False,
    routing_mode="REGIONAL",
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
subnetwork_cluster_vpc = gcp.compute.Subnetwork(
    "cluster-vpc",
    ip_cidr_range="10.0.0.0/18",
    secondary_ip_ranges=[
        gcp.compute.SubnetworkSecondaryIpRangeArgs(ip_cidr_range="10.0.128.0/17", range_name="pods"),
        gcp.compute.SubnetworkSecondaryIpRangeArgs(ip_cidr_range="10.0.64.0/19", range_name="services"),
    ],
    project="my-project",
    private_ip_google_access=True,
    region="us-central1",
    name="triton-gke",
    network=cluster_vpc.id,
    opts=pulumi.ResourceOptions(provider=cluster),
)
router_cluster_vpc = gcp.compute.Router(
    "cluster-vpc",
    project="my-project",
    region="us-central1",
    name="triton-gke",
    network=cluster_vpc.id,
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_webhooks = gcp.compute.Firewall(
    "cluster-webhooks",
    description="Control plane to webhooks and aggregated APIs that run in pods",
    project="my-project",
    direction="INGRESS",
    target_tags=["triton-gke-node"],
    network=cluster_vpc.self_link,
    source_ranges=["10.0.127.240/28"],
    name="triton-gke-webhooks",
    allows=[gcp.compute.FirewallAllowArgs(protocol="tcp", ports=["6443", "10250", "15017"])],
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_health_checks = gcp.compute.Firewall(
    "cluster-health-checks",
    description="Health checks of Google's load balancers",
    project="my-project",
    direction="INGRESS",
    target_tags=["triton-gke-node"],
    network=cluster_vpc.self_link,
    source_ranges=["35.191.0.0/16", "130.211.0.0/22", "209.85.152.0/22", "209.85.204.0/22"],
    name="triton-gke-health-checks",
    allows=[gcp.compute.FirewallAllowArgs(protocol="tcp", ports=["8000", "8001", "8080", "10256", "15021", "30000-32767"])],
    opts=pulumi.ResourceOptions(provider=cluster),
)
router_nat_cluster_vpc = gcp.compute.RouterNat(
    "cluster-vpc",
    project="my-project",
    region="us-central1",
    name="triton-gke",
    log_config=gcp.compute.RouterNatLogConfigArgs(filter="ERRORS_ONLY", enable=True),
    router="triton-gke",
    nat_ip_allocate_option="AUTO_ONLY",
    source_subnetwork_ip_ranges_to_nat="LIST_OF_SUBNETWORKS",
    subnetworks=[gcp.compute.RouterNatSubnetworkArgs(source_ip_ranges_to_nats=["ALL_IP_RANGES"], name=subnetwork_cluster_vpc.id)],
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[router_cluster_vpc]),
)
cluster_cluster = gcp.container.Cluster(
    "cluster",
    resource_labels={"project": "triton", "triton-fleet-cluster": "triton-gke"},
    workload_identity_config=gcp.container.ClusterWorkloadIdentityConfigArgs(workload_pool="my-project.svc.id.goog"),
    name="triton-gke",
    deletion_protection=False,
    networking_mode="VPC_NATIVE",
    cluster_autoscaling=gcp.container.ClusterClusterAutoscalingArgs(enabled=False, autoscaling_profile="BALANCED"),
    control_plane_endpoints_config=gcp.container.ClusterControlPlaneEndpointsConfigArgs(
        ip_endpoints_config=gcp.container.ClusterControlPlaneEndpointsConfigIpEndpointsConfigArgs(enabled=True),
        dns_endpoint_config=gcp.container.ClusterControlPlaneEndpointsConfigDnsEndpointConfigArgs(allow_external_traffic=False),
    ),
    location="us-central1-a",
    default_max_pods_per_node=64,
    logging_config=gcp.container.ClusterLoggingConfigArgs(enable_components=["SYSTEM_COMPONENTS", "WORKLOADS"]),
    master_authorized_networks_config=gcp.container.ClusterMasterAuthorizedNetworksConfigArgs(
        cidr_blocks=[gcp.container.ClusterMasterAuthorizedNetworksConfigCidrBlockArgs(cidr_block="203.0.113.0/24")],
        gcp_public_cidrs_access_enabled=False,
    ),
    remove_default_node_pool=True,
    database_encryption=gcp.container.ClusterDatabaseEncryptionArgs(key_name=crypto_key_cluster_secrets.id, state="ENCRYPTED"),
    addons_config=gcp.container.ClusterAddonsConfigArgs(
        http_load_balancing=gcp.container.ClusterAddonsConfigHttpLoadBalancingArgs(disabled=False),
        dns_cache_config=gcp.container.ClusterAddonsConfigDnsCacheConfigArgs(enabled=True),
        horizontal_pod_autoscaling=gcp.container.ClusterAddonsConfigHorizontalPodAutoscalingArgs(disabled=False),
        gce_persistent_disk_csi_driver_config=gcp.container.ClusterAddonsConfigGcePersistentDiskCsiDriverConfigArgs(enabled=True),
    ),
    project="my-project",
    release_channel=gcp.container.ClusterReleaseChannelArgs(channel="RAPID"),
    ip_allocation_policy=gcp.container.ClusterIpAllocationPolicyArgs(
        services_secondary_range_name="services", cluster_secondary_range_name="pods"
    ),
    initial_node_count=1,
    enable_shielded_nodes=True,
    network=cluster_vpc.self_link,
    node_pool_defaults=gcp.container.ClusterNodePoolDefaultsArgs(
        node_config_defaults=gcp.container.ClusterNodePoolDefaultsNodeConfigDefaultsArgs(insecure_kubelet_readonly_port_enabled="FALSE")
    ),
    datapath_provider="ADVANCED_DATAPATH",
    node_config=gcp.container.ClusterNodeConfigArgs(
        machine_type="e2-standard-2", disk_size_gb=32, service_account=cluster_nodes.email, disk_type="pd-standard"
    ),
    subnetwork=subnetwork_cluster_vpc.self_link,
    private_cluster_config=gcp.container.ClusterPrivateClusterConfigArgs(
        enable_private_nodes=True,
        master_ipv4_cidr_block="10.0.127.240/28",
        enable_private_endpoint=False,
        master_global_access_config=gcp.container.ClusterPrivateClusterConfigMasterGlobalAccessConfigArgs(enabled=True),
    ),
    monitoring_config=gcp.container.ClusterMonitoringConfigArgs(
        enable_components=["SYSTEM_COMPONENTS"],
        managed_prometheus=gcp.container.ClusterMonitoringConfigManagedPrometheusArgs(enabled=False),
    ),
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
cluster_cpu = gcp.container.NodePool(
    "cluster-cpu",
    project="my-project",
    management=gcp.container.NodePoolManagementArgs(auto_upgrade=True, auto_repair=True),
    upgrade_settings=gcp.container.NodePoolUpgradeSettingsArgs(max_unavailable=0, max_surge=1, strategy="SURGE"),
    autoscaling=gcp.container.NodePoolAutoscalingArgs(total_min_node_count=1, location_policy="BALANCED", total_max_node_count=3),
    name="cpu-d20dcb",
    network_config=gcp.container.NodePoolNetworkConfigArgs(enable_private_nodes=True),
    initial_node_count=1,
    max_pods_per_node=64,
    cluster=cluster_cluster.id,
    node_config=gcp.container.NodePoolNodeConfigArgs(
        taints=[],
        labels={"triton-fleet/pool": "cpu"},
        oauth_scopes=["https://www.googleapis.com/auth/cloud-platform"],
        workload_metadata_config=gcp.container.NodePoolNodeConfigWorkloadMetadataConfigArgs(mode="GKE_METADATA"),
        boot_disk=gcp.container.NodePoolNodeConfigBootDiskArgs(size_gb=80, disk_type="pd-balanced"),
        image_type="COS_CONTAINERD",
        machine_type="n1-standard-8",
        tags=["triton-gke-node"],
        shielded_instance_config=gcp.container.NodePoolNodeConfigShieldedInstanceConfigArgs(
            enable_secure_boot=True, enable_integrity_monitoring=True
        ),
        service_account=cluster_nodes.email,
        gvnic=gcp.container.NodePoolNodeConfigGvnicArgs(enabled=True),
        spot=False,
        resource_labels={"project": "triton", "triton-fleet-cluster": "triton-gke"},
    ),
    node_locations=["us-central1-a"],
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
cluster_accel = gcp.container.NodePool(
    "cluster-accel",
    project="my-project",
    management=gcp.container.NodePoolManagementArgs(auto_upgrade=True, auto_repair=True),
    upgrade_settings=gcp.container.NodePoolUpgradeSettingsArgs(max_unavailable=1, max_surge=0, strategy="SURGE"),
    autoscaling=gcp.container.NodePoolAutoscalingArgs(total_min_node_count=1, location_policy="ANY", total_max_node_count=4),
    name="accel-9e8c3f",
    network_config=gcp.container.NodePoolNetworkConfigArgs(enable_private_nodes=True),
    initial_node_count=2,
    max_pods_per_node=64,
    cluster=cluster_cluster.id,
    node_config=gcp.container.NodePoolNodeConfigArgs(
        machine_type="n1-standard-4",
        guest_accelerators=[
            gcp.container.NodePoolNodeConfigGuestAcceleratorArgs(
                count=1,
                type="nvidia-tesla-t4",
                gpu_driver_installation_config=gcp.container.NodePoolNodeConfigGuestAcceleratorGpuDriverInstallationConfigArgs(
                    gpu_driver_version="DEFAULT"
                ),
            )
        ],
        tags=["triton-gke-node"],
        gvnic=gcp.container.NodePoolNodeConfigGvnicArgs(enabled=True),
        shielded_instance_config=gcp.container.NodePoolNodeConfigShieldedInstanceConfigArgs(
            enable_secure_boot=True, enable_integrity_monitoring=True
        ),
        spot=False,
        labels={"nvidia.com/gpu.present": "true", "triton-fleet/pool": "accel"},
        taints=[gcp.container.NodePoolNodeConfigTaintArgs(key="nvidia.com/gpu", effect="NO_SCHEDULE", value="present")],
        oauth_scopes=["https://www.googleapis.com/auth/cloud-platform"],
        workload_metadata_config=gcp.container.NodePoolNodeConfigWorkloadMetadataConfigArgs(mode="GKE_METADATA"),
        boot_disk=gcp.container.NodePoolNodeConfigBootDiskArgs(size_gb=100, disk_type="pd-balanced"),
        image_type="COS_CONTAINERD",
        gcfs_config=gcp.container.NodePoolNodeConfigGcfsConfigArgs(enabled=True),
        service_account=cluster_nodes.email,
        resource_labels={"project": "triton", "triton-fleet-cluster": "triton-gke"},
    ),
    node_locations=["us-central1-a"],
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
    service_account_id=triton_reader.name,
    role="roles/iam.workloadIdentityUser",
    member="serviceAccount:my-project.svc.id.goog[triton/triton]",
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[cluster_cluster]),
)
kubernetes_cluster = k8s.Provider(
    "cluster",
    cluster_identifier="my-project/us-central1-a/triton-gke",
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
    opts=pulumi.ResourceOptions(depends_on=[cluster_accel, cluster_cpu, cluster_health_checks, cluster_webhooks]),
)
custom_metrics_stackdriver_adapter_viewer = gcp.projects.IAMMember(
    "custom-metrics-stackdriver-adapter-viewer",
    project="my-project",
    role="roles/monitoring.viewer",
    member="principal://iam.googleapis.com/projects/111122223333/locations/global/workloadIdentityPools/my-project.svc.id.goog/subject/ns/custom-metrics/sa/custom-metrics-stackdriver-adapter",
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[cluster_cluster]),
)
monitoring = k8s.core.v1.Namespace(
    "monitoring",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="monitoring",
        labels={
            "app.kubernetes.io/name": "prometheus",
            "pod-security.kubernetes.io/enforce": "privileged",
            "app.kubernetes.io/instance": "prometheus",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
dcgm = k8s.core.v1.Namespace(
    "dcgm",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="dcgm",
        labels={
            "app.kubernetes.io/name": "dcgm-exporter",
            "pod-security.kubernetes.io/enforce": "privileged",
            "app.kubernetes.io/instance": "dcgm-exporter",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
custom_metrics = k8s.core.v1.Namespace(
    "custom-metrics",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="custom-metrics",
        labels={
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
        },
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
custom_metrics_resource_reader = k8s.rbac.v1.ClusterRole(
    "custom-metrics-resource-reader",
    rules=[k8s.rbac.v1.PolicyRuleArgs(api_groups=[""], verbs=["get", "list", "watch"], resources=["pods", "nodes", "nodes/stats"])],
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="custom-metrics-resource-reader",
        labels={
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
        },
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
external_metrics_reader = k8s.rbac.v1.ClusterRole(
    "external-metrics-reader",
    rules=[k8s.rbac.v1.PolicyRuleArgs(api_groups=["external.metrics.k8s.io"], verbs=["get", "list", "watch"], resources=["*"])],
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="external-metrics-reader",
        labels={
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
        },
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
placeholders = k8s.core.v1.Namespace(
    "placeholders",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="placeholders",
        labels={
            "app.kubernetes.io/name": "placeholder",
            "pod-security.kubernetes.io/enforce": "restricted",
            "app.kubernetes.io/instance": "placeholder",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
triton_fleet_placeholder = k8s.scheduling.v1.PriorityClass(
    "triton-fleet-placeholder",
    description="Holds room on GPU nodes; gives way to everything.",
    global_default=False,
    value=-10,
    preemption_policy="Never",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="triton-fleet-placeholder",
        labels={
            "app.kubernetes.io/name": "placeholder",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "placeholder",
        },
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, delete_before_replace=True),
)
istio_system = k8s.core.v1.Namespace(
    "istio-system",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="istio-system",
        labels={
            "app.kubernetes.io/name": "istio",
            "pod-security.kubernetes.io/enforce": "privileged",
            "app.kubernetes.io/instance": "istio",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
istio_ingress = k8s.core.v1.Namespace(
    "istio-ingress",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="istio-ingress",
        labels={
            "app.kubernetes.io/name": "gateway",
            "pod-security.kubernetes.io/enforce": "privileged",
            "app.kubernetes.io/instance": "gateway",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
triton = k8s.core.v1.Namespace(
    "triton",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="triton",
        labels={
            "app.kubernetes.io/name": "triton",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "triton",
            "pod-security.kubernetes.io/warn": "restricted",
        },
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
kps = k8s.helm.v3.Release(
    "kps",
    version="88.5.3",
    max_history=5,
    compat="true",
    create_namespace=False,
    name="kps",
    timeout=600,
    chart=f"{CHARTS}/kube-prometheus-stack",
    atomic=True,
    values={
        "kubeProxy": {"enabled": False},
        "crds": {"enabled": True, "upgradeJob": {"image": {"busybox": {"tag": "1.37"}}, "enabled": True}},
        "fullnameOverride": "kps",
        "prometheus": {
            "prometheusSpec": {
                "podMonitorSelectorNilUsesHelmValues": False,
                "serviceDiscoveryRole": "EndpointSlice",
                "probeSelectorNilUsesHelmValues": False,
                "storageSpec": {
                    "volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "50Gi"}}}}
                },
                "scrapeInterval": "15s",
                "serviceMonitorSelectorNilUsesHelmValues": False,
                "scrapeConfigSelectorNilUsesHelmValues": False,
                "retentionSize": "40960MB",
                "ruleSelectorNilUsesHelmValues": False,
                "retention": "7d",
                "evaluationInterval": "15s",
            },
            "service": {"type": "ClusterIP", "port": 9090},
        },
        "alertmanager": {"enabled": True},
        "kubeControllerManager": {"enabled": False},
        "kubeScheduler": {"enabled": False},
        "grafana": {"enabled": True},
        "kubeEtcd": {"enabled": False},
        "coreDns": {"enabled": False},
    },
    namespace="monitoring",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[monitoring], delete_before_replace=True),
)
dcgm_critical_pods = k8s.core.v1.ResourceQuota(
    "dcgm-critical-pods",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="critical-pods",
        labels={
            "app.kubernetes.io/name": "dcgm-exporter",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "dcgm-exporter",
        },
        namespace="dcgm",
    ),
    spec=k8s.core.v1.ResourceQuotaSpecArgs(
        scope_selector=k8s.core.v1.ScopeSelectorArgs(
            match_expressions=[
                k8s.core.v1.ScopedResourceSelectorRequirementArgs(
                    values=["system-node-critical", "system-cluster-critical"], operator="In", scope_name="PriorityClass"
                )
            ]
        ),
        hard={"pods": "1G"},
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[dcgm]),
)
custom_metrics_stackdriver_adapter = k8s.core.v1.ServiceAccount(
    "custom-metrics-stackdriver-adapter",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="custom-metrics-stackdriver-adapter",
        labels={
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
        },
        namespace="custom-metrics",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[custom_metrics]),
)
cluster_role_binding_external_metrics_reader = k8s.rbac.v1.ClusterRoleBinding(
    "external-metrics-reader",
    subjects=[k8s.rbac.v1.SubjectArgs(kind="ServiceAccount", name="horizontal-pod-autoscaler", namespace="kube-system")],
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="external-metrics-reader",
        labels={
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
        },
    ),
    role_ref=k8s.rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name="external-metrics-reader"),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[external_metrics_reader]),
)
istio_base = k8s.helm.v3.Release(
    "istio-base",
    version="1.30.3",
    max_history=5,
    compat="true",
    create_namespace=False,
    name="istio-base",
    timeout=600,
    chart=f"{CHARTS}/base",
    atomic=True,
    values={"base": {"validationFailurePolicy": "Fail"}},
    namespace="istio-system",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[istio_system], delete_before_replace=True),
)
k8s.apps.v1.Deployment(
    "placeholder-accel",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="accel",
        annotations={"pulumi.com/skipAwait": "true"},
        labels={
            "app.kubernetes.io/name": "placeholder",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "accel",
        },
        namespace="placeholders",
    ),
    spec=k8s.apps.v1.DeploymentSpecArgs(
        replicas=1,
        strategy=k8s.apps.v1.DeploymentStrategyArgs(type="Recreate"),
        selector=k8s.meta.v1.LabelSelectorArgs(
            match_labels={
                "app.kubernetes.io/name": "placeholder",
                "app.kubernetes.io/managed-by": "triton-fleet",
                "app.kubernetes.io/instance": "accel",
            }
        ),
        template=k8s.core.v1.PodTemplateSpecArgs(
            metadata=k8s.meta.v1.ObjectMetaArgs(
                labels={
                    "app.kubernetes.io/name": "placeholder",
                    "app.kubernetes.io/managed-by": "triton-fleet",
                    "app.kubernetes.io/instance": "accel",
                }
            ),
            spec=k8s.core.v1.PodSpecArgs(
                node_selector={"triton-fleet/pool": "accel"},
                containers=[
                    k8s.core.v1.ContainerArgs(
                        image_pull_policy="IfNotPresent",
                        image="registry.k8s.io/pause:3.10",
                        resources=k8s.core.v1.ResourceRequirementsArgs(
                            limits={"memory": "16Mi", "nvidia.com/gpu": "1"},
                            requests={"memory": "16Mi", "cpu": "10m", "nvidia.com/gpu": "1"},
                        ),
                        security_context=k8s.core.v1.SecurityContextArgs(
                            allow_privilege_escalation=False,
                            read_only_root_filesystem=True,
                            capabilities=k8s.core.v1.CapabilitiesArgs(drop=["ALL"]),
                        ),
                        name="pause",
                    )
                ],
                priority_class_name="triton-fleet-placeholder",
                enable_service_links=False,
                security_context=k8s.core.v1.PodSecurityContextArgs(
                    run_as_group=65535,
                    run_as_non_root=True,
                    run_as_user=65535,
                    seccomp_profile=k8s.core.v1.SeccompProfileArgs(type="RuntimeDefault"),
                ),
                init_containers=[
                    k8s.core.v1.ContainerArgs(
                        command=["/bin/true"],
                        image_pull_policy="IfNotPresent",
                        resources=k8s.core.v1.ResourceRequirementsArgs(
                            limits={"memory": "16Mi"}, requests={"memory": "16Mi", "cpu": "10m"}
                        ),
                        image="nvcr.io/nvidia/tritonserver:26.07-py3",
                        security_context=k8s.core.v1.SecurityContextArgs(
                            allow_privilege_escalation=False,
                            read_only_root_filesystem=True,
                            capabilities=k8s.core.v1.CapabilitiesArgs(drop=["ALL"]),
                        ),
                        name="pull-0",
                    )
                ],
                tolerations=[k8s.core.v1.TolerationArgs(key="nvidia.com/gpu", effect="NoSchedule", operator="Exists")],
                termination_grace_period_seconds=0,
                automount_service_account_token=False,
            ),
        ),
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[placeholders, triton_fleet_placeholder]),
)
triton_admin = k8s.core.v1.Secret(
    "triton-admin-key",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="triton-admin",
        namespace="triton",
        labels={
            "app.kubernetes.io/instance": "triton",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/name": "triton",
        },
    ),
    data=pulumi.Output.secret({"key": base64.b64encode(secrets.token_hex(16).encode()).decode()}),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[triton], ignore_changes=["data"]),
)
chart_triton = k8s.helm.v4.Chart(
    "triton",
    chart=f"{ROOT}/charts/triton",
    values={
        "nodeSelector": {"triton-fleet/pool": "accel"},
        "runtimeClassName": "",
        "imagePullPolicy": "IfNotPresent",
        "deploymentAnnotations": {"pulumi.com/timeoutSeconds": "1500"},
        "envFromSecrets": [],
        "env": {},
        "runAsUser": 1000,
        "probes": {
            "liveness": {"timeoutSeconds": 5, "failureThreshold": 6, "periodSeconds": 10},
            "readiness": {"timeoutSeconds": 3, "failureThreshold": 3, "periodSeconds": 5},
        },
        "image": "nvcr.io/nvidia/tritonserver:26.07-py3",
        "podAnnotations": {},
        "podLabels": {},
        "priorityClassName": "",
        "extraArgs": [],
        "disruption": {"maxUnavailable": 1, "enabled": True},
        "startupBudget": 900,
        "prefetch": {
            "image": "docker.io/rclone/rclone:1.75.2",
            "models": [],
            "volume": {},
            "parallelism": 16,
            "budget": 900,
            "enabled": False,
        },
        "tolerations": [],
        "modelRepository": {
            "mode": "release",
            "credentialsSecret": "",
            "models": [],
            "region": "",
            "release": "4ca3606a69d4a846128241564e506cf12c344cf19f2488dce51d4c16e8bae019",
            "url": "",
            "urls": ["gs://triton-gke-models/models/models/fil_xgboost-4ca3606a69d4a846"],
            "keyFileSecret": "",
        },
        "labels": {
            "app.kubernetes.io/name": "triton",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "triton",
        },
        "drain": {"exitTimeout": 45, "preStop": 15, "recycleGrpc": True, "margin": 15},
        "logVerbose": 0,
        "podMonitor": {"interval": "5s", "enabled": True, "labels": {}},
        "autoscaling": {
            "maxReplicas": 3,
            "initialReplicas": 1,
            "behavior": {},
            "scaleDownPodsPerMinute": 1,
            "enabled": True,
            "scaleDownStabilization": 300,
            "metrics": [
                {
                    "external": {
                        "target": {"type": "AverageValue", "averageValue": "85"},
                        "metric": {
                            "selector": {
                                "matchLabels": {
                                    "resource.labels.cluster_name": "triton-gke",
                                    "resource.labels.namespace_name": "triton",
                                    "resource.type": "k8s_container",
                                    "resource.labels.location": "us-central1-a",
                                    "resource.labels.container_name": "triton",
                                }
                            },
                            "name": "kubernetes.io|container|accelerator|duty_cycle",
                        },
                    },
                    "type": "External",
                }
            ],
            "minReplicas": 1,
        },
        "rollout": {"maxSurge": 1, "maxUnavailable": 0},
        "service": {"type": "ClusterIP", "annotations": {}, "sourceRanges": []},
        "readOnlyRootFilesystem": True,
        "admin": {"open": [], "keySecret": "triton-admin"},
        "networkPolicy": {
            "enabled": True,
            "namespaces": ["istio-ingress"],
            "prometheusNamespaces": ["monitoring"],
            "istio": True,
            "cidrs": [],
            "egress": [],
        },
        "secretEnv": {},
        "affinity": {},
        "imagePullSecrets": [],
        "serviceAccount": {
            "waitForToken": True,
            "annotations": {"iam.gke.io/gcp-service-account": triton_reader.email},
            "name": "",
            "create": True,
        },
        "resources": {"gpus": 1, "memory": "10Gi", "gpuResource": "nvidia.com/gpu", "shm": "1Gi", "cpu": "2"},
    },
    name="triton",
    namespace="triton",
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster,
        depends_on=[triton_admin, iammember_triton_reader, release_repository, triton, triton_reader_bucket, triton_reader_objects],
        transforms=[of_the_chart],
    ),
)
custom_metrics_system_auth_delegator = k8s.rbac.v1.ClusterRoleBinding(
    "custom-metrics:system:auth-delegator",
    subjects=[k8s.rbac.v1.SubjectArgs(kind="ServiceAccount", name="custom-metrics-stackdriver-adapter", namespace="custom-metrics")],
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="custom-metrics:system:auth-delegator",
        labels={
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
        },
    ),
    role_ref=k8s.rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name="system:auth-delegator"),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[custom_metrics_stackdriver_adapter]),
)
custom_metrics_auth_reader = k8s.rbac.v1.RoleBinding(
    "custom-metrics-auth-reader",
    subjects=[k8s.rbac.v1.SubjectArgs(kind="ServiceAccount", name="custom-metrics-stackdriver-adapter", namespace="custom-metrics")],
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="custom-metrics-auth-reader",
        labels={
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
        },
        namespace="kube-system",
    ),
    role_ref=k8s.rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="Role", name="extension-apiserver-authentication-reader"),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[custom_metrics_stackdriver_adapter]),
)
cluster_role_binding_custom_metrics_resource_reader = k8s.rbac.v1.ClusterRoleBinding(
    "custom-metrics-resource-reader",
    subjects=[k8s.rbac.v1.SubjectArgs(kind="ServiceAccount", name="custom-metrics-stackdriver-adapter", namespace="custom-metrics")],
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="custom-metrics-resource-reader",
        labels={
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
        },
    ),
    role_ref=k8s.rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name="custom-metrics-resource-reader"),
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster, depends_on=[custom_metrics_resource_reader, custom_metrics_stackdriver_adapter]
    ),
)
istiod = k8s.helm.v3.Release(
    "istiod",
    version="1.30.3",
    max_history=5,
    compat="true",
    create_namespace=False,
    name="istiod",
    timeout=600,
    chart=f"{CHARTS}/istiod",
    atomic=True,
    values={
        "meshConfig": {
            "defaultConfig": {"holdApplicationUntilProxyStarts": True, "terminationDrainDuration": "60s"},
            "enablePrometheusMerge": True,
        },
        "pilot": {"env": {"ENABLE_NATIVE_SIDECARS": "auto"}},
        "base": {"validationFailurePolicy": "Fail"},
    },
    namespace="istio-system",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[istio_base], delete_before_replace=True),
)
k8s.helm.v3.Release(
    "prometheus-adapter",
    version="5.3.0",
    max_history=5,
    compat="true",
    create_namespace=False,
    name="prometheus-adapter",
    timeout=600,
    chart=f"{CHARTS}/prometheus-adapter",
    atomic=True,
    values={
        "rules": {
            "default": False,
            "custom": [
                {
                    "seriesQuery": 'nv_inference_queue_duration_us{namespace!="",pod!=""}',
                    "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                    "metricsQuery": "sum(rate(nv_inference_queue_duration_us{<<.LabelMatchers>>}[60s])) by (<<.GroupBy>>) / clamp_min(sum(rate(nv_inference_request_success{<<.LabelMatchers>>}[60s])) by (<<.GroupBy>>), 0.001) or 0 * sum(nv_inference_queue_duration_us{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
                    "name": {"as": "avg_time_queue_us", "matches": "^nv_inference_queue_duration_us$"},
                },
                {
                    "seriesQuery": 'nv_inference_pending_request_count{namespace!="",pod!=""}',
                    "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                    "metricsQuery": "sum(avg_over_time(<<.Series>>{<<.LabelMatchers>>}[15s])) by (<<.GroupBy>>)",
                    "name": {"as": "nv_inference_pending_request_count", "matches": "^nv_inference_pending_request_count$"},
                },
                {
                    "seriesQuery": 'nv_inference_request_success{namespace!="",pod!=""}',
                    "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                    "metricsQuery": "sum(rate(<<.Series>>{<<.LabelMatchers>>}[60s])) by (<<.GroupBy>>) or 0 * sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
                    "name": {"as": "nv_inference_requests_per_second", "matches": "^nv_inference_request_success$"},
                },
                {
                    "seriesQuery": 'DCGM_FI_DEV_GPU_UTIL{namespace!="",pod!="",service!=""}',
                    "resources": {"overrides": {"service": {"resource": "service"}, "namespace": {"resource": "namespace"}}},
                    "metricsQuery": "avg(avg_over_time(<<.Series>>{<<.LabelMatchers>>}[30s])) by (<<.GroupBy>>)",
                    "name": {"as": "DCGM_FI_DEV_GPU_UTIL", "matches": "^DCGM_FI_DEV_GPU_UTIL$"},
                },
            ],
        },
        "extraArguments": ["--metrics-max-age=60s"],
        "resources": {"limits": {"memory": "512Mi", "cpu": "500m"}, "requests": {"memory": "128Mi", "cpu": "100m"}},
        "prometheus": {"url": "http://kps-prometheus.monitoring.svc", "path": "", "port": 9090},
        "readinessProbe": {"periodSeconds": 3, "initialDelaySeconds": 2},
        "metricsRelistInterval": "15s",
    },
    namespace="monitoring",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[kps], delete_before_replace=True),
)
triton_gateway = k8s.helm.v3.Release(
    "triton-gateway",
    version="1.30.3",
    max_history=5,
    compat="true",
    create_namespace=False,
    name="triton-gateway",
    timeout=600,
    chart=f"{CHARTS}/gateway",
    atomic=True,
    values={
        "podDisruptionBudget": {"maxUnavailable": 1},
        "autoscaling": {"enabled": True, "maxReplicas": 5, "minReplicas": 2},
        "labels": {"istio": "triton-gateway"},
        "podAnnotations": {"proxy.istio.io/config": '{"drainDuration": "15s", "terminationDrainDuration": "60s"}'},
        "lifecycle": {"preStop": {"sleep": {"seconds": 15}}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
        "terminationGracePeriodSeconds": 90,
        "service": {
            "type": "LoadBalancer",
            "annotations": {"networking.gke.io/load-balancer-type": "Internal"},
            "ports": [
                {"protocol": "TCP", "targetPort": 15021, "port": 15021, "name": "status-port"},
                {"protocol": "TCP", "targetPort": 8000, "port": 8000, "name": "http-triton"},
                {"protocol": "TCP", "targetPort": 8001, "port": 8001, "name": "grpc-triton"},
            ],
        },
    },
    namespace="istio-ingress",
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster,
        depends_on=[cluster_accel, cluster_cpu, cluster_health_checks, cluster_webhooks, istio_ingress, istiod],
        delete_before_replace=True,
    ),
)
k8s.helm.v3.Release(
    "dcgm-exporter",
    version="4.8.2",
    max_history=5,
    compat="true",
    create_namespace=False,
    name="dcgm-exporter",
    timeout=600,
    chart=f"{CHARTS}/dcgm-exporter",
    atomic=True,
    values={
        "extraEnv": [
            {"value": "/usr/local/nvidia/lib64", "name": "LD_LIBRARY_PATH"},
            {"value": "device-name", "name": "DCGM_EXPORTER_KUBERNETES_GPU_ID_TYPE"},
        ],
        "tolerations": [{"operator": "Exists"}],
        "fullnameOverride": "dcgm-exporter",
        "arguments": ["-f", "/etc/dcgm-exporter/default-counters.csv", "--collect-interval=1000"],
        "extraVolumeMounts": [
            {"mountPath": "/usr/local/nvidia", "readOnly": True, "name": "nvidia-install-dir-host"},
            {"mountPath": "/etc/dcgm-exporter/default-counters.csv", "name": "exporter-metrics-volume", "subPath": "default-counters.csv"},
        ],
        "securityContext": {"allowPrivilegeEscalation": True, "privileged": True},
        "readinessProbe": {"initialDelaySeconds": 5},
        "extraHostVolumes": [{"hostPath": "/home/kubernetes/bin/nvidia", "name": "nvidia-install-dir-host"}],
        "resources": {"limits": {"memory": "1Gi", "cpu": "500m"}, "requests": {"memory": "256Mi", "cpu": "100m"}},
        "livenessProbe": {"periodSeconds": 10, "initialDelaySeconds": 90},
        "serviceMonitor": {
            "relabelings": [{"action": "replace", "targetLabel": "kubernetes_node", "sourceLabels": ["__meta_kubernetes_pod_node_name"]}],
            "interval": "1s",
            "enabled": True,
            "scrapeTimeout": "1s",
            "honorLabels": True,
        },
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "cloud.google.com/gke-accelerator", "operator": "Exists"}]}]
                }
            }
        },
    },
    namespace="dcgm",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[dcgm, dcgm_critical_pods, kps], delete_before_replace=True),
)
deployment_custom_metrics_stackdriver_adapter = k8s.apps.v1.Deployment(
    "custom-metrics-stackdriver-adapter",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="custom-metrics-stackdriver-adapter",
        labels={
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
        },
        namespace="custom-metrics",
    ),
    spec=k8s.apps.v1.DeploymentSpecArgs(
        replicas=1,
        selector=k8s.meta.v1.LabelSelectorArgs(
            match_labels={"k8s-app": "custom-metrics-stackdriver-adapter", "run": "custom-metrics-stackdriver-adapter"}
        ),
        template=k8s.core.v1.PodTemplateSpecArgs(
            metadata=k8s.meta.v1.ObjectMetaArgs(
                labels={
                    "k8s-app": "custom-metrics-stackdriver-adapter",
                    "app.kubernetes.io/name": "stackdriver-adapter",
                    "app.kubernetes.io/managed-by": "triton-fleet",
                    "app.kubernetes.io/instance": "stackdriver-adapter",
                    "run": "custom-metrics-stackdriver-adapter",
                }
            ),
            spec=k8s.core.v1.PodSpecArgs(
                service_account_name="custom-metrics-stackdriver-adapter",
                containers=[
                    k8s.core.v1.ContainerArgs(
                        readiness_probe=k8s.core.v1.ProbeArgs(
                            timeout_seconds=5,
                            period_seconds=5,
                            initial_delay_seconds=5,
                            http_get=k8s.core.v1.HTTPGetActionArgs(scheme="HTTPS", path="/healthz", port=443),
                        ),
                        command=[
                            "/adapter",
                            "--use-new-resource-model=true",
                            "--fallback-for-container-metrics=true",
                            "--enable-custom-metrics-api=false",
                        ],
                        image_pull_policy="IfNotPresent",
                        resources=k8s.core.v1.ResourceRequirementsArgs(
                            limits={"memory": "200Mi", "cpu": "250m"}, requests={"memory": "200Mi", "cpu": "250m"}
                        ),
                        image="gcr.io/gke-release/custom-metrics-stackdriver-adapter:v0.16.9-gke.0",
                        security_context=k8s.core.v1.SecurityContextArgs(allow_privilege_escalation=False),
                        name="pod-custom-metrics-stackdriver-adapter",
                    )
                ],
                security_context=k8s.core.v1.PodSecurityContextArgs(seccomp_profile=k8s.core.v1.SeccompProfileArgs(type="RuntimeDefault")),
            ),
        ),
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
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="custom-metrics-stackdriver-adapter",
        labels={
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
        },
        namespace="custom-metrics",
    ),
    spec=k8s.core.v1.ServiceSpecArgs(
        type="ClusterIP",
        selector={"k8s-app": "custom-metrics-stackdriver-adapter", "run": "custom-metrics-stackdriver-adapter"},
        ports=[k8s.core.v1.ServicePortArgs(protocol="TCP", target_port=443, port=443, name="https")],
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[deployment_custom_metrics_stackdriver_adapter]),
)
k8s.apiextensions.CustomResource(
    "triton-route-gateway",
    kind="Gateway",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="triton",
        labels={
            "app.kubernetes.io/name": "triton-route",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "triton",
        },
        namespace="triton",
    ),
    api_version="networking.istio.io/v1",
    spec={
        "servers": [
            {"port": {"protocol": "HTTP", "name": "http-triton", "number": 8000}, "hosts": ["*"]},
            {"port": {"protocol": "GRPC", "name": "grpc-triton", "number": 8001}, "hosts": ["*"]},
        ],
        "selector": {"istio": "triton-gateway"},
    },
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[chart_triton, triton_gateway]),
)
k8s.apiextensions.CustomResource(
    "triton-route-virtualservice",
    kind="VirtualService",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="triton",
        labels={
            "app.kubernetes.io/name": "triton-route",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "triton",
        },
        namespace="triton",
    ),
    api_version="networking.istio.io/v1",
    spec={
        "http": [
            {"match": [{"port": 8000, "uri": {"exact": "/v2/models/stats"}}], "directResponse": {"status": 404}},
            {
                "match": [
                    {
                        "port": 8000,
                        "method": {"exact": "GET"},
                        "uri": {"regex": "/v2(/health/(live|ready))?|/v2/models/[^/]+(/versions/[0-9]+)?(/ready)?"},
                    }
                ],
                "retries": {"attempts": 2, "retryOn": "connect-failure,refused-stream"},
                "route": [{"destination": {"port": {"number": 8000}, "host": "triton.triton.svc.cluster.local"}}],
            },
            {
                "match": [
                    {
                        "port": 8000,
                        "method": {"exact": "POST"},
                        "uri": {"regex": "/v2/models/[^/]+(/versions/[0-9]+)?/(infer|generate|generate_stream)"},
                    }
                ],
                "retries": {"attempts": 2, "retryOn": "connect-failure,refused-stream"},
                "route": [{"destination": {"port": {"number": 8000}, "host": "triton.triton.svc.cluster.local"}}],
            },
            {
                "match": [
                    {
                        "port": 8001,
                        "uri": {
                            "regex": r"/inference\.GRPCInferenceService/(ServerLive|ServerReady|ModelReady|ServerMetadata|ModelMetadata|ModelInfer|ModelStreamInfer)|/grpc\.health\.v1\.Health/(Check|Watch)"
                        },
                    }
                ],
                "retries": {"attempts": 2, "retryOn": "connect-failure,refused-stream"},
                "route": [{"destination": {"port": {"number": 8001}, "host": "triton.triton.svc.cluster.local"}}],
            },
        ],
        "gateways": ["triton"],
        "hosts": ["*"],
    },
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[chart_triton, triton_gateway]),
)
k8s.apiextensions.CustomResource(
    "triton-route-destinationrule",
    kind="DestinationRule",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="triton",
        labels={
            "app.kubernetes.io/name": "triton-route",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "triton",
        },
        namespace="triton",
    ),
    api_version="networking.istio.io/v1",
    spec={
        "trafficPolicy": {
            "connectionPool": {
                "tcp": {"tcpKeepalive": {"time": "60s", "interval": "60s", "probes": 5}},
                "http": {"maxRequestsPerConnection": 0},
            },
            "outlierDetection": {
                "splitExternalLocalOriginErrors": True,
                "consecutiveLocalOriginFailures": 5,
                "consecutive5xxErrors": 0,
                "consecutiveGatewayErrors": 0,
                "interval": "10s",
                "baseEjectionTime": "30s",
                "maxEjectionPercent": 50,
            },
            "loadBalancer": {"warmup": {"duration": "60s"}, "simple": "LEAST_REQUEST"},
        },
        "host": "triton.triton.svc.cluster.local",
    },
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[chart_triton, triton_gateway]),
)
k8s.apiregistration.v1.APIService(
    "v1beta1.external.metrics.k8s.io",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="v1beta1.external.metrics.k8s.io",
        labels={
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
        },
    ),
    spec=k8s.apiregistration.v1.APIServiceSpecArgs(
        group="external.metrics.k8s.io",
        version="v1beta1",
        group_priority_minimum=100,
        version_priority=100,
        insecure_skip_tls_verify=True,
        service=k8s.apiregistration.v1.ServiceReferenceArgs(
            port=443, name="custom-metrics-stackdriver-adapter", namespace="custom-metrics"
        ),
    ),
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster, depends_on=[deployment_custom_metrics_stackdriver_adapter, service_custom_metrics_stackdriver_adapter]
    ),
)
