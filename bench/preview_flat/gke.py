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


cluster = gcp.Provider("cluster", project="my-project", region="us-central1")
cluster_compute = gcp.projects.Service(
    "cluster-compute",
    disable_on_destroy=False,
    project="my-project",
    service="compute.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_container = gcp.projects.Service(
    "cluster-container",
    disable_on_destroy=False,
    project="my-project",
    service="container.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_iamcredentials = gcp.projects.Service(
    "cluster-iamcredentials",
    disable_on_destroy=False,
    project="my-project",
    service="iamcredentials.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_iam = gcp.projects.Service(
    "cluster-iam",
    disable_on_destroy=False,
    project="my-project",
    service="iam.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_storage = gcp.projects.Service(
    "cluster-storage",
    disable_on_destroy=False,
    project="my-project",
    service="storage.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_artifactregistry = gcp.projects.Service(
    "cluster-artifactregistry",
    disable_on_destroy=False,
    project="my-project",
    service="artifactregistry.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_containerfilesystem = gcp.projects.Service(
    "cluster-containerfilesystem",
    disable_on_destroy=False,
    project="my-project",
    service="containerfilesystem.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_cloudkms = gcp.projects.Service(
    "cluster-cloudkms",
    disable_on_destroy=False,
    project="my-project",
    service="cloudkms.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_cloudresourcemanager = gcp.projects.Service(
    "cluster-cloudresourcemanager",
    disable_on_destroy=False,
    project="my-project",
    service="cloudresourcemanager.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_logging = gcp.projects.Service(
    "cluster-logging",
    disable_on_destroy=False,
    project="my-project",
    service="logging.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_monitoring = gcp.projects.Service(
    "cluster-monitoring",
    disable_on_destroy=False,
    project="my-project",
    service="monitoring.googleapis.com",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_vpc = gcp.compute.Network(
    "cluster-vpc",
    description="VPC of the GKE cluster triton-gke",
    routing_mode="REGIONAL",
    project="my-project",
    name="triton-gke",
    auto_create_subnetworks=False,
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
    project="my-project",
    account_id="triton-gke-nodes",
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
    project="my-project",
    location="us-central1",
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
triton_reader = gcp.serviceaccount.Account(
    "triton-reader",
    display_name="Models of triton/triton in the GKE cluster triton-gke",
    project="my-project",
    account_id="triton-gke-triton-reader",
    opts=pulumi.ResourceOptions(provider=cluster),
)
repository = gcp.storage.Bucket(
    "repository",
    project="my-project",
    lifecycle_rules=[
        gcp.storage.BucketLifecycleRuleArgs(
            condition=gcp.storage.BucketLifecycleRuleConditionArgs(age=7),
            action=gcp.storage.BucketLifecycleRuleActionArgs(type="AbortIncompleteMultipartUpload"),
        )
    ],
    labels={"project": "triton"},
    location="US-CENTRAL1",
    name="triton-gke-models",
    public_access_prevention="enforced",
    uniform_bucket_level_access=True,
    opts=pulumi.ResourceOptions(provider=cluster),
)
subnetwork_cluster_vpc = gcp.compute.Subnetwork(
    "cluster-vpc",
    secondary_ip_ranges=[
        gcp.compute.SubnetworkSecondaryIpRangeArgs(ip_cidr_range="10.0.128.0/17", range_name="pods"),
        gcp.compute.SubnetworkSecondaryIpRangeArgs(ip_cidr_range="10.0.64.0/19", range_name="services"),
    ],
    private_ip_google_access=True,
    network=cluster_vpc.id,
    project="my-project",
    name="triton-gke",
    ip_cidr_range="10.0.0.0/18",
    region="us-central1",
    opts=pulumi.ResourceOptions(provider=cluster),
)
router_cluster_vpc = gcp.compute.Router(
    "cluster-vpc",
    network=cluster_vpc.id,
    project="my-project",
    name="triton-gke",
    region="us-central1",
    opts=pulumi.ResourceOptions(provider=cluster),
)
crypto_key_cluster_secrets = gcp.kms.CryptoKey(
    "cluster-secrets",
    labels={"triton-fleet-cluster": "triton-gke", "project": "triton"},
    key_ring=cluster_secrets.id,
    purpose="ENCRYPT_DECRYPT",
    rotation_period="7776000s",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_webhooks = gcp.compute.Firewall(
    "cluster-webhooks",
    description="Control plane to webhooks and aggregated APIs that run in pods",
    direction="INGRESS",
    allows=[gcp.compute.FirewallAllowArgs(protocol="tcp", ports=["6443", "10250", "15017"])],
    network=cluster_vpc.self_link,
    project="my-project",
    name="triton-gke-webhooks",
    source_ranges=["10.0.127.240/28"],
    target_tags=["triton-gke-node"],
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_nodes_container_default_node_service_account = gcp.projects.IAMMember(
    "cluster-nodes-container.defaultNodeServiceAccount",
    role="roles/container.defaultNodeServiceAccount",
    project="my-project",
    member=cluster_nodes.member,
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_nodes_serviceusage_service_usage_consumer = gcp.projects.IAMMember(
    "cluster-nodes-serviceusage.serviceUsageConsumer",
    role="roles/serviceusage.serviceUsageConsumer",
    project="my-project",
    member=cluster_nodes.member,
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_health_checks = gcp.compute.Firewall(
    "cluster-health-checks",
    description="Health checks of Google's load balancers",
    direction="INGRESS",
    allows=[gcp.compute.FirewallAllowArgs(protocol="tcp", ports=["8000", "8001", "8080", "10256", "15021", "30000-32767"])],
    network=cluster_vpc.self_link,
    project="my-project",
    name="triton-gke-health-checks",
    source_ranges=["35.191.0.0/16", "130.211.0.0/22", "209.85.152.0/22", "209.85.204.0/22"],
    target_tags=["triton-gke-node"],
    opts=pulumi.ResourceOptions(provider=cluster),
)
release_repository = Release(
    ReleaseProvider(),
    "repository",
    {
        "owner": "None.triton-fleet.gke.repository",
        "prefix": f"{ROOT}/models",
        "source": f"{ROOT}/models",
        "location": "us-central1",
        "url": "gs://triton-gke-models/models",
        "store": "gcs",
        "region": "us-east-1",
        "mode": "release",
        f"{ROOT}/models": {"fil_xgboost": "4ca3606a69d4a846128241564e506cf12c344cf19f2488dce51d4c16e8bae019"},
        "createBucket": "cloud",
        "verify": False,
        "keep": 3,
        "project": "my-project",
        "bucket": "triton-gke-models",
        "digest": "4ca3606a69d4a846128241564e506cf12c344cf19f2488dce51d4c16e8bae019",
        "display": "",
        "name": None,
        "previous": None,
    },
    opts=pulumi.ResourceOptions(depends_on=[repository]),
)
crypto_key_iammember_cluster_secrets = gcp.kms.CryptoKeyIAMMember(
    "cluster-secrets",
    role="roles/cloudkms.cryptoKeyEncrypterDecrypter",
    crypto_key_id=crypto_key_cluster_secrets.id,
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
triton_reader_objects = gcp.storage.BucketIAMMember(
    "triton-reader-objects",
    role="roles/storage.objectViewer",
    condition=gcp.storage.BucketIAMMemberConditionArgs(
        description="What is below models/",
        expression='resource.name.startsWith("projects/_/buckets/triton-gke-models/objects/models/") || api.getAttribute("storage.googleapis.com/objectListPrefix", "").startsWith("models/")',
        title=f"{ROOT}/models",
    ),
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
router_nat_cluster_vpc = gcp.compute.RouterNat(
    "cluster-vpc",
    log_config=gcp.compute.RouterNatLogConfigArgs(filter="ERRORS_ONLY", enable=True),
    subnetworks=[gcp.compute.RouterNatSubnetworkArgs(source_ip_ranges_to_nats=["ALL_IP_RANGES"], name=subnetwork_cluster_vpc.id)],
    router="triton-gke",
    source_subnetwork_ip_ranges_to_nat="LIST_OF_SUBNETWORKS",
    nat_ip_allocate_option="AUTO_ONLY",
    name="triton-gke",
    project="my-project",
    region="us-central1",
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[router_cluster_vpc]),
)
cluster_cluster = gcp.container.Cluster(
    "cluster",
    enable_shielded_nodes=True,
    node_config=gcp.container.ClusterNodeConfigArgs(
        service_account=cluster_nodes.email, machine_type="e2-standard-2", disk_size_gb=32, disk_type="pd-standard"
    ),
    private_cluster_config=gcp.container.ClusterPrivateClusterConfigArgs(
        enable_private_endpoint=False,
        master_ipv4_cidr_block="10.0.127.240/28",
        master_global_access_config=gcp.container.ClusterPrivateClusterConfigMasterGlobalAccessConfigArgs(enabled=True),
        enable_private_nodes=True,
    ),
    datapath_provider="ADVANCED_DATAPATH",
    monitoring_config=gcp.container.ClusterMonitoringConfigArgs(
        enable_components=["SYSTEM_COMPONENTS"],
        managed_prometheus=gcp.container.ClusterMonitoringConfigManagedPrometheusArgs(enabled=False),
    ),
    default_max_pods_per_node=64,
    networking_mode="VPC_NATIVE",
    location="us-central1-a",
    addons_config=gcp.container.ClusterAddonsConfigArgs(
        gce_persistent_disk_csi_driver_config=gcp.container.ClusterAddonsConfigGcePersistentDiskCsiDriverConfigArgs(enabled=True),
        http_load_balancing=gcp.container.ClusterAddonsConfigHttpLoadBalancingArgs(disabled=False),
        dns_cache_config=gcp.container.ClusterAddonsConfigDnsCacheConfigArgs(enabled=True),
        horizontal_pod_autoscaling=gcp.container.ClusterAddonsConfigHorizontalPodAutoscalingArgs(disabled=False),
    ),
    node_pool_defaults=gcp.container.ClusterNodePoolDefaultsArgs(
        node_config_defaults=gcp.container.ClusterNodePoolDefaultsNodeConfigDefaultsArgs(insecure_kubelet_readonly_port_enabled="FALSE")
    ),
    deletion_protection=False,
    name="triton-gke",
    cluster_autoscaling=gcp.container.ClusterClusterAutoscalingArgs(autoscaling_profile="BALANCED", enabled=False),
    subnetwork=subnetwork_cluster_vpc.self_link,
    control_plane_endpoints_config=gcp.container.ClusterControlPlaneEndpointsConfigArgs(
        dns_endpoint_config=gcp.container.ClusterControlPlaneEndpointsConfigDnsEndpointConfigArgs(allow_external_traffic=False),
        ip_endpoints_config=gcp.container.ClusterControlPlaneEndpointsConfigIpEndpointsConfigArgs(enabled=True),
    ),
    ip_allocation_policy=gcp.container.ClusterIpAllocationPolicyArgs(
        services_secondary_range_name="services", cluster_secondary_range_name="pods"
    ),
    remove_default_node_pool=True,
    network=cluster_vpc.self_link,
    release_channel=gcp.container.ClusterReleaseChannelArgs(channel="RAPID"),
    resource_labels={"triton-fleet-cluster": "triton-gke", "project": "triton"},
    initial_node_count=1,
    logging_config=gcp.container.ClusterLoggingConfigArgs(enable_components=["SYSTEM_COMPONENTS", "WORKLOADS"]),
    database_encryption=gcp.container.ClusterDatabaseEncryptionArgs(key_name=crypto_key_cluster_secrets.id, state="ENCRYPTED"),
    project="my-project",
    workload_identity_config=gcp.container.ClusterWorkloadIdentityConfigArgs(workload_pool="my-project.svc.id.goog"),
    master_authorized_networks_config=gcp.container.ClusterMasterAuthorizedNetworksConfigArgs(
        cidr_blocks=[gcp.container.ClusterMasterAuthorizedNetworksConfigCidrBlockArgs(cidr_block="203.0.113.0/24")],
        gcp_public_cidrs_access_enabled=False,
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
cluster_accel = gcp.container.NodePool(
    "cluster-accel",
    node_config=gcp.container.NodePoolNodeConfigArgs(
        labels={"nvidia.com/gpu.present": "true", "triton-fleet/pool": "accel"},
        service_account=cluster_nodes.email,
        gvnic=gcp.container.NodePoolNodeConfigGvnicArgs(enabled=True),
        oauth_scopes=["https://www.googleapis.com/auth/cloud-platform"],
        boot_disk=gcp.container.NodePoolNodeConfigBootDiskArgs(disk_type="pd-balanced", size_gb=100),
        gcfs_config=gcp.container.NodePoolNodeConfigGcfsConfigArgs(enabled=True),
        machine_type="n1-standard-4",
        resource_labels={"triton-fleet-cluster": "triton-gke", "project": "triton"},
        spot=False,
        taints=[gcp.container.NodePoolNodeConfigTaintArgs(key="nvidia.com/gpu", effect="NO_SCHEDULE", value="present")],
        shielded_instance_config=gcp.container.NodePoolNodeConfigShieldedInstanceConfigArgs(
            enable_secure_boot=True, enable_integrity_monitoring=True
        ),
        image_type="COS_CONTAINERD",
        tags=["triton-gke-node"],
        workload_metadata_config=gcp.container.NodePoolNodeConfigWorkloadMetadataConfigArgs(mode="GKE_METADATA"),
        guest_accelerators=[
            gcp.container.NodePoolNodeConfigGuestAcceleratorArgs(
                type="nvidia-tesla-t4",
                gpu_driver_installation_config=gcp.container.NodePoolNodeConfigGuestAcceleratorGpuDriverInstallationConfigArgs(
                    gpu_driver_version="DEFAULT"
                ),
                count=1,
            )
        ],
    ),
    autoscaling=gcp.container.NodePoolAutoscalingArgs(total_max_node_count=3, location_policy="ANY", total_min_node_count=1),
    upgrade_settings=gcp.container.NodePoolUpgradeSettingsArgs(strategy="SURGE", max_surge=0, max_unavailable=1),
    node_locations=["us-central1-a"],
    initial_node_count=2,
    network_config=gcp.container.NodePoolNetworkConfigArgs(enable_private_nodes=True),
    cluster=cluster_cluster.id,
    management=gcp.container.NodePoolManagementArgs(auto_repair=True, auto_upgrade=True),
    max_pods_per_node=64,
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
    node_config=gcp.container.NodePoolNodeConfigArgs(
        spot=False,
        labels={"triton-fleet/pool": "cpu"},
        service_account=cluster_nodes.email,
        taints=[],
        shielded_instance_config=gcp.container.NodePoolNodeConfigShieldedInstanceConfigArgs(
            enable_secure_boot=True, enable_integrity_monitoring=True
        ),
        image_type="COS_CONTAINERD",
        gvnic=gcp.container.NodePoolNodeConfigGvnicArgs(enabled=True),
        tags=["triton-gke-node"],
        oauth_scopes=["https://www.googleapis.com/auth/cloud-platform"],
        workload_metadata_config=gcp.container.NodePoolNodeConfigWorkloadMetadataConfigArgs(mode="GKE_METADATA"),
        boot_disk=gcp.container.NodePoolNodeConfigBootDiskArgs(disk_type="pd-balanced", size_gb=80),
        machine_type="n1-standard-8",
        resource_labels={"triton-fleet-cluster": "triton-gke", "project": "triton"},
    ),
    autoscaling=gcp.container.NodePoolAutoscalingArgs(total_max_node_count=3, location_policy="BALANCED", total_min_node_count=1),
    upgrade_settings=gcp.container.NodePoolUpgradeSettingsArgs(strategy="SURGE", max_surge=1, max_unavailable=0),
    node_locations=["us-central1-a"],
    initial_node_count=1,
    network_config=gcp.container.NodePoolNetworkConfigArgs(enable_private_nodes=True),
    cluster=cluster_cluster.id,
    management=gcp.container.NodePoolManagementArgs(auto_repair=True, auto_upgrade=True),
    max_pods_per_node=64,
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
    service_account_id=triton_reader.name,
    role="roles/iam.workloadIdentityUser",
    member="serviceAccount:my-project.svc.id.goog[triton/triton]",
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[cluster_cluster]),
)
kubernetes_cluster = k8s.Provider(
    "cluster",
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
    enable_server_side_apply=True,
    cluster_identifier="my-project/us-central1-a/triton-gke",
    opts=pulumi.ResourceOptions(depends_on=[cluster_accel, cluster_cpu, cluster_health_checks, cluster_webhooks]),
)
custom_metrics_stackdriver_adapter_viewer = gcp.projects.IAMMember(
    "custom-metrics-stackdriver-adapter-viewer",
    role="roles/monitoring.viewer",
    project="my-project",
    member="principal://iam.googleapis.com/projects/111122223333/locations/global/workloadIdentityPools/my-project.svc.id.goog/subject/ns/custom-metrics/sa/custom-metrics-stackdriver-adapter",
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[cluster_cluster]),
)
triton = k8s.core.v1.Namespace(
    "triton",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "triton",
            "app.kubernetes.io/instance": "triton",
            "pod-security.kubernetes.io/warn": "restricted",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        name="triton",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
monitoring = k8s.core.v1.Namespace(
    "monitoring",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "prometheus",
            "app.kubernetes.io/instance": "prometheus",
            "pod-security.kubernetes.io/enforce": "privileged",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        name="monitoring",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
custom_metrics = k8s.core.v1.Namespace(
    "custom-metrics",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        name="custom-metrics",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
custom_metrics_resource_reader = k8s.rbac.v1.ClusterRole(
    "custom-metrics-resource-reader",
    rules=[k8s.rbac.v1.PolicyRuleArgs(verbs=["get", "list", "watch"], api_groups=[""], resources=["pods", "nodes", "nodes/stats"])],
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        name="custom-metrics-resource-reader",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
placeholders = k8s.core.v1.Namespace(
    "placeholders",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "placeholder",
            "app.kubernetes.io/instance": "placeholder",
            "pod-security.kubernetes.io/enforce": "restricted",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        name="placeholders",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
triton_fleet_placeholder = k8s.scheduling.v1.PriorityClass(
    "triton-fleet-placeholder",
    description="Holds room on GPU nodes; gives way to everything.",
    preemption_policy="Never",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "placeholder",
            "app.kubernetes.io/instance": "placeholder",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        name="triton-fleet-placeholder",
    ),
    value=-10,
    global_default=False,
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, delete_before_replace=True),
)
istio_system = k8s.core.v1.Namespace(
    "istio-system",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "istio",
            "app.kubernetes.io/instance": "istio",
            "pod-security.kubernetes.io/enforce": "privileged",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        name="istio-system",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
istio_ingress = k8s.core.v1.Namespace(
    "istio-ingress",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "gateway",
            "app.kubernetes.io/instance": "gateway",
            "pod-security.kubernetes.io/enforce": "privileged",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        name="istio-ingress",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
external_metrics_reader = k8s.rbac.v1.ClusterRole(
    "external-metrics-reader",
    rules=[k8s.rbac.v1.PolicyRuleArgs(verbs=["get", "list", "watch"], api_groups=["external.metrics.k8s.io"], resources=["*"])],
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        name="external-metrics-reader",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
dcgm = k8s.core.v1.Namespace(
    "dcgm",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "dcgm-exporter",
            "app.kubernetes.io/instance": "dcgm-exporter",
            "pod-security.kubernetes.io/enforce": "privileged",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        name="dcgm",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
custom_metrics_stackdriver_adapter = k8s.core.v1.ServiceAccount(
    "custom-metrics-stackdriver-adapter",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        namespace="custom-metrics",
        name="custom-metrics-stackdriver-adapter",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[custom_metrics]),
)
k8s.apps.v1.Deployment(
    "placeholder-accel",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "placeholder",
            "app.kubernetes.io/instance": "accel",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        namespace="placeholders",
        name="accel",
        annotations={"pulumi.com/skipAwait": "true"},
    ),
    spec=k8s.apps.v1.DeploymentSpecArgs(
        strategy=k8s.apps.v1.DeploymentStrategyArgs(type="Recreate"),
        replicas=1,
        selector=k8s.meta.v1.LabelSelectorArgs(
            match_labels={
                "app.kubernetes.io/name": "placeholder",
                "app.kubernetes.io/instance": "accel",
                "app.kubernetes.io/managed-by": "triton-fleet",
            }
        ),
        template=k8s.core.v1.PodTemplateSpecArgs(
            metadata=k8s.meta.v1.ObjectMetaArgs(
                labels={
                    "app.kubernetes.io/name": "placeholder",
                    "app.kubernetes.io/instance": "accel",
                    "app.kubernetes.io/managed-by": "triton-fleet",
                }
            ),
            spec=k8s.core.v1.PodSpecArgs(
                node_selector={"triton-fleet/pool": "accel"},
                termination_grace_period_seconds=0,
                security_context=k8s.core.v1.PodSecurityContextArgs(
                    run_as_non_root=True,
                    seccomp_profile=k8s.core.v1.SeccompProfileArgs(type="RuntimeDefault"),
                    run_as_group=65535,
                    run_as_user=65535,
                ),
                init_containers=[
                    k8s.core.v1.ContainerArgs(
                        command=["/bin/true"],
                        resources=k8s.core.v1.ResourceRequirementsArgs(
                            requests={"cpu": "10m", "memory": "16Mi"}, limits={"memory": "16Mi"}
                        ),
                        security_context=k8s.core.v1.SecurityContextArgs(
                            allow_privilege_escalation=False,
                            capabilities=k8s.core.v1.CapabilitiesArgs(drop=["ALL"]),
                            read_only_root_filesystem=True,
                        ),
                        image="nvcr.io/nvidia/tritonserver:26.07-py3",
                        image_pull_policy="IfNotPresent",
                        name="pull-0",
                    )
                ],
                enable_service_links=False,
                priority_class_name="triton-fleet-placeholder",
                containers=[
                    k8s.core.v1.ContainerArgs(
                        resources=k8s.core.v1.ResourceRequirementsArgs(
                            requests={"cpu": "10m", "memory": "16Mi", "nvidia.com/gpu": "1"},
                            limits={"memory": "16Mi", "nvidia.com/gpu": "1"},
                        ),
                        security_context=k8s.core.v1.SecurityContextArgs(
                            allow_privilege_escalation=False,
                            capabilities=k8s.core.v1.CapabilitiesArgs(drop=["ALL"]),
                            read_only_root_filesystem=True,
                        ),
                        image="registry.k8s.io/pause:3.10",
                        image_pull_policy="IfNotPresent",
                        name="pause",
                    )
                ],
                automount_service_account_token=False,
                tolerations=[k8s.core.v1.TolerationArgs(effect="NoSchedule", key="nvidia.com/gpu", operator="Exists")],
            ),
        ),
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[placeholders, triton_fleet_placeholder]),
)
istio_base = k8s.helm.v3.Release(
    "istio-base",
    version="1.30.3",
    timeout=600,
    namespace="istio-system",
    atomic=True,
    values={"base": {"validationFailurePolicy": "Fail"}},
    create_namespace=False,
    chart=f"{CHARTS}/base",
    compat="true",
    name="istio-base",
    max_history=5,
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[istio_system], delete_before_replace=True),
)
cluster_role_binding_external_metrics_reader = k8s.rbac.v1.ClusterRoleBinding(
    "external-metrics-reader",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        name="external-metrics-reader",
    ),
    role_ref=k8s.rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", name="external-metrics-reader", kind="ClusterRole"),
    subjects=[k8s.rbac.v1.SubjectArgs(namespace="kube-system", name="horizontal-pod-autoscaler", kind="ServiceAccount")],
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[external_metrics_reader]),
)
dcgm_critical_pods = k8s.core.v1.ResourceQuota(
    "dcgm-critical-pods",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "dcgm-exporter",
            "app.kubernetes.io/instance": "dcgm-exporter",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        namespace="dcgm",
        name="critical-pods",
    ),
    spec=k8s.core.v1.ResourceQuotaSpecArgs(
        scope_selector=k8s.core.v1.ScopeSelectorArgs(
            match_expressions=[
                k8s.core.v1.ScopedResourceSelectorRequirementArgs(
                    scope_name="PriorityClass", operator="In", values=["system-node-critical", "system-cluster-critical"]
                )
            ]
        ),
        hard={"pods": "1G"},
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[dcgm]),
)
kps = k8s.helm.v3.Release(
    "kps",
    version="88.5.3",
    timeout=600,
    namespace="monitoring",
    atomic=True,
    values={
        "kubeControllerManager": {"enabled": False},
        "alertmanager": {"enabled": True},
        "kubeProxy": {"enabled": False},
        "kubeEtcd": {"enabled": False},
        "crds": {"upgradeJob": {"image": {"busybox": {"tag": "1.37"}}, "enabled": True}, "enabled": True},
        "fullnameOverride": "kps",
        "grafana": {"enabled": True},
        "prometheus": {
            "prometheusSpec": {
                "serviceMonitorSelectorNilUsesHelmValues": False,
                "storageSpec": {
                    "volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "50Gi"}}}}
                },
                "probeSelectorNilUsesHelmValues": False,
                "retentionSize": "40960MB",
                "scrapeInterval": "15s",
                "evaluationInterval": "15s",
                "scrapeConfigSelectorNilUsesHelmValues": False,
                "podMonitorSelectorNilUsesHelmValues": False,
                "retention": "7d",
                "ruleSelectorNilUsesHelmValues": False,
                "serviceDiscoveryRole": "EndpointSlice",
            },
            "service": {"type": "ClusterIP", "port": 9090},
        },
        "kubeScheduler": {"enabled": False},
    },
    create_namespace=False,
    chart=f"{CHARTS}/kube-prometheus-stack",
    compat="true",
    name="kps",
    max_history=5,
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[monitoring], delete_before_replace=True),
)
chart_triton = k8s.helm.v4.Chart(
    "triton",
    chart=f"{ROOT}/charts/triton",
    namespace="triton",
    name="triton",
    values={
        "startupBudget": 900,
        "labels": {
            "app.kubernetes.io/name": "triton",
            "app.kubernetes.io/instance": "triton",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        "serviceAccount": {
            "waitForToken": True,
            "create": True,
            "annotations": {"iam.gke.io/gcp-service-account": triton_reader.email},
            "name": "",
        },
        "drain": {"exitTimeout": 45, "recycleGrpc": True, "preStop": 15, "margin": 15},
        "affinity": {},
        "service": {"type": "ClusterIP", "annotations": {}},
        "podLabels": {},
        "modelRepository": {
            "release": "4ca3606a69d4a846128241564e506cf12c344cf19f2488dce51d4c16e8bae019",
            "mode": "release",
            "credentialsSecret": "",
            f"{ROOT}/models": [],
            "urls": ["gs://triton-gke-models/models/models/fil_xgboost-4ca3606a69d4a846"],
            "url": "",
            "keyFileSecret": "",
            "region": "",
        },
        "priorityClassName": "",
        "podAnnotations": {},
        "podMonitor": {"interval": "5s", "labels": {}, "enabled": True},
        "tolerations": [],
        "disruption": {"maxUnavailable": 1, "enabled": True},
        "resources": {"gpuResource": "nvidia.com/gpu", "cpu": "2", "shm": "1Gi", "memory": "10Gi", "gpus": 1},
        "imagePullPolicy": "IfNotPresent",
        "logVerbose": 0,
        "probes": {
            "readiness": {"timeoutSeconds": 3, "failureThreshold": 3, "periodSeconds": 5},
            "liveness": {"timeoutSeconds": 5, "failureThreshold": 6, "periodSeconds": 10},
        },
        "readOnlyRootFilesystem": True,
        "extraArgs": [],
        "image": "nvcr.io/nvidia/tritonserver:26.07-py3",
        "deploymentAnnotations": {"pulumi.com/timeoutSeconds": "1500"},
        "rollout": {"maxSurge": 1},
        "prefetch": {
            "parallelism": 16,
            f"{ROOT}/models": [],
            "volume": {},
            "image": "docker.io/rclone/rclone:1.75.2",
            "budget": 900,
            "enabled": False,
        },
        "nodeSelector": {"triton-fleet/pool": "accel"},
        "imagePullSecrets": [],
        "autoscaling": {
            "enabled": True,
            "minReplicas": 1,
            "behavior": {
                "scaleDown": {
                    "selectPolicy": "Max",
                    "stabilizationWindowSeconds": 300,
                    "policies": [{"type": "Pods", "periodSeconds": 60, "value": 1}],
                },
                "scaleUp": {
                    "selectPolicy": "Max",
                    "stabilizationWindowSeconds": 0,
                    "policies": [{"type": "Pods", "periodSeconds": 15, "value": 4}, {"type": "Percent", "periodSeconds": 15, "value": 100}],
                },
            },
            "metrics": [
                {
                    "type": "External",
                    "external": {
                        "target": {"type": "AverageValue", "averageValue": "85"},
                        "metric": {
                            "selector": {
                                "matchLabels": {
                                    "resource.type": "k8s_container",
                                    "resource.labels.container_name": "triton",
                                    "resource.labels.namespace_name": "triton",
                                    "resource.labels.cluster_name": "triton-gke",
                                    "resource.labels.location": "us-central1-a",
                                }
                            },
                            "name": "kubernetes.io|container|accelerator|duty_cycle",
                        },
                    },
                }
            ],
            "maxReplicas": 3,
            "initialReplicas": 1,
        },
        "envFromSecrets": [],
        "runtimeClassName": "",
        "runAsUser": 1000,
        "env": {},
    },
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster,
        depends_on=[iammember_triton_reader, release_repository, triton, triton_reader_bucket, triton_reader_objects],
        transforms=[of_the_chart],
    ),
)
custom_metrics_system_auth_delegator = k8s.rbac.v1.ClusterRoleBinding(
    "custom-metrics:system:auth-delegator",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        name="custom-metrics:system:auth-delegator",
    ),
    role_ref=k8s.rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", name="system:auth-delegator", kind="ClusterRole"),
    subjects=[k8s.rbac.v1.SubjectArgs(namespace="custom-metrics", name="custom-metrics-stackdriver-adapter", kind="ServiceAccount")],
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[custom_metrics_stackdriver_adapter]),
)
custom_metrics_auth_reader = k8s.rbac.v1.RoleBinding(
    "custom-metrics-auth-reader",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        namespace="kube-system",
        name="custom-metrics-auth-reader",
    ),
    role_ref=k8s.rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", name="extension-apiserver-authentication-reader", kind="Role"),
    subjects=[k8s.rbac.v1.SubjectArgs(namespace="custom-metrics", name="custom-metrics-stackdriver-adapter", kind="ServiceAccount")],
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[custom_metrics_stackdriver_adapter]),
)
cluster_role_binding_custom_metrics_resource_reader = k8s.rbac.v1.ClusterRoleBinding(
    "custom-metrics-resource-reader",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        name="custom-metrics-resource-reader",
    ),
    role_ref=k8s.rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", name="custom-metrics-resource-reader", kind="ClusterRole"),
    subjects=[k8s.rbac.v1.SubjectArgs(namespace="custom-metrics", name="custom-metrics-stackdriver-adapter", kind="ServiceAccount")],
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster, depends_on=[custom_metrics_resource_reader, custom_metrics_stackdriver_adapter]
    ),
)
istiod = k8s.helm.v3.Release(
    "istiod",
    version="1.30.3",
    timeout=600,
    namespace="istio-system",
    atomic=True,
    values={
        "pilot": {"env": {"ENABLE_NATIVE_SIDECARS": "auto"}},
        "meshConfig": {"enablePrometheusMerge": True, "defaultConfig": {"holdApplicationUntilProxyStarts": True}},
        "base": {"validationFailurePolicy": "Fail"},
    },
    create_namespace=False,
    chart=f"{CHARTS}/istiod",
    compat="true",
    name="istiod",
    max_history=5,
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[istio_base], delete_before_replace=True),
)
k8s.helm.v3.Release(
    "prometheus-adapter",
    version="5.3.0",
    timeout=600,
    namespace="monitoring",
    atomic=True,
    values={
        "metricsRelistInterval": "15s",
        "rules": {
            "custom": [
                {
                    "seriesQuery": 'nv_inference_queue_duration_us{namespace!="",pod!=""}',
                    "metricsQuery": "sum(rate(nv_inference_queue_duration_us{<<.LabelMatchers>>}[60s])) by (<<.GroupBy>>) / clamp_min(sum(rate(nv_inference_request_success{<<.LabelMatchers>>}[60s])) by (<<.GroupBy>>), 0.001) or 0 * sum(nv_inference_queue_duration_us{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
                    "name": {"matches": "^nv_inference_queue_duration_us$", "as": "avg_time_queue_us"},
                    "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                },
                {
                    "seriesQuery": 'nv_inference_pending_request_count{namespace!="",pod!=""}',
                    "metricsQuery": "sum(avg_over_time(<<.Series>>{<<.LabelMatchers>>}[15s])) by (<<.GroupBy>>)",
                    "name": {"matches": "^nv_inference_pending_request_count$", "as": "nv_inference_pending_request_count"},
                    "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                },
                {
                    "seriesQuery": 'nv_inference_request_success{namespace!="",pod!=""}',
                    "metricsQuery": "sum(rate(<<.Series>>{<<.LabelMatchers>>}[60s])) by (<<.GroupBy>>) or 0 * sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
                    "name": {"matches": "^nv_inference_request_success$", "as": "nv_inference_requests_per_second"},
                    "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                },
                {
                    "seriesQuery": 'DCGM_FI_DEV_GPU_UTIL{namespace!="",pod!="",service!=""}',
                    "metricsQuery": "avg(avg_over_time(<<.Series>>{<<.LabelMatchers>>}[30s])) by (<<.GroupBy>>)",
                    "name": {"matches": "^DCGM_FI_DEV_GPU_UTIL$", "as": "DCGM_FI_DEV_GPU_UTIL"},
                    "resources": {"overrides": {"namespace": {"resource": "namespace"}, "service": {"resource": "service"}}},
                },
            ],
            "default": False,
        },
        "extraArguments": ["--metrics-max-age=60s"],
        "prometheus": {"port": 9090, "path": "", "url": "http://kps-prometheus.monitoring.svc"},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}},
        "readinessProbe": {"periodSeconds": 3, "initialDelaySeconds": 2},
    },
    create_namespace=False,
    chart=f"{CHARTS}/prometheus-adapter",
    compat="true",
    name="prometheus-adapter",
    max_history=5,
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[kps], delete_before_replace=True),
)
deployment_custom_metrics_stackdriver_adapter = k8s.apps.v1.Deployment(
    "custom-metrics-stackdriver-adapter",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        namespace="custom-metrics",
        name="custom-metrics-stackdriver-adapter",
    ),
    spec=k8s.apps.v1.DeploymentSpecArgs(
        replicas=1,
        selector=k8s.meta.v1.LabelSelectorArgs(
            match_labels={"k8s-app": "custom-metrics-stackdriver-adapter", "run": "custom-metrics-stackdriver-adapter"}
        ),
        template=k8s.core.v1.PodTemplateSpecArgs(
            metadata=k8s.meta.v1.ObjectMetaArgs(
                labels={
                    "app.kubernetes.io/name": "stackdriver-adapter",
                    "app.kubernetes.io/instance": "stackdriver-adapter",
                    "k8s-app": "custom-metrics-stackdriver-adapter",
                    "run": "custom-metrics-stackdriver-adapter",
                    "app.kubernetes.io/managed-by": "triton-fleet",
                }
            ),
            spec=k8s.core.v1.PodSpecArgs(
                containers=[
                    k8s.core.v1.ContainerArgs(
                        command=[
                            "/adapter",
                            "--use-new-resource-model=true",
                            "--fallback-for-container-metrics=true",
                            "--enable-custom-metrics-api=false",
                        ],
                        image="gcr.io/gke-release/custom-metrics-stackdriver-adapter:v0.16.9-gke.0",
                        resources=k8s.core.v1.ResourceRequirementsArgs(
                            requests={"cpu": "250m", "memory": "200Mi"}, limits={"cpu": "250m", "memory": "200Mi"}
                        ),
                        security_context=k8s.core.v1.SecurityContextArgs(allow_privilege_escalation=False),
                        name="pod-custom-metrics-stackdriver-adapter",
                        image_pull_policy="IfNotPresent",
                        readiness_probe=k8s.core.v1.ProbeArgs(
                            timeout_seconds=5,
                            http_get=k8s.core.v1.HTTPGetActionArgs(scheme="HTTPS", port=443, path="/healthz"),
                            period_seconds=5,
                            initial_delay_seconds=5,
                        ),
                    )
                ],
                service_account_name="custom-metrics-stackdriver-adapter",
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
triton_gateway = k8s.helm.v3.Release(
    "triton-gateway",
    version="1.30.3",
    timeout=600,
    namespace="istio-ingress",
    atomic=True,
    values={
        "autoscaling": {"minReplicas": 2, "maxReplicas": 5, "enabled": True},
        "labels": {"istio": "triton-gateway"},
        "podDisruptionBudget": {"maxUnavailable": 1},
        "service": {
            "type": "LoadBalancer",
            "annotations": {"networking.gke.io/load-balancer-type": "Internal"},
            "ports": [
                {"port": 15021, "targetPort": 15021, "protocol": "TCP", "name": "status-port"},
                {"port": 8000, "targetPort": 8000, "protocol": "TCP", "name": "http-triton"},
                {"port": 8001, "targetPort": 8001, "protocol": "TCP", "name": "grpc-triton"},
            ],
        },
    },
    create_namespace=False,
    chart=f"{CHARTS}/gateway",
    compat="true",
    name="triton-gateway",
    max_history=5,
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster,
        depends_on=[cluster_accel, cluster_cpu, cluster_health_checks, cluster_webhooks, istio_ingress, istiod],
        delete_before_replace=True,
    ),
)
service_custom_metrics_stackdriver_adapter = k8s.core.v1.Service(
    "custom-metrics-stackdriver-adapter",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        namespace="custom-metrics",
        name="custom-metrics-stackdriver-adapter",
    ),
    spec=k8s.core.v1.ServiceSpecArgs(
        type="ClusterIP",
        selector={"k8s-app": "custom-metrics-stackdriver-adapter", "run": "custom-metrics-stackdriver-adapter"},
        ports=[k8s.core.v1.ServicePortArgs(port=443, target_port=443, protocol="TCP", name="https")],
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[deployment_custom_metrics_stackdriver_adapter]),
)
k8s.helm.v3.Release(
    "dcgm-exporter",
    version="4.8.2",
    timeout=600,
    namespace="dcgm",
    atomic=True,
    values={
        "arguments": ["-f", "/etc/dcgm-exporter/default-counters.csv", "--collect-interval=1000"],
        "extraHostVolumes": [{"name": "nvidia-install-dir-host", "hostPath": "/home/kubernetes/bin/nvidia"}],
        "extraEnv": [
            {"name": "LD_LIBRARY_PATH", "value": "/usr/local/nvidia/lib64"},
            {"name": "DCGM_EXPORTER_KUBERNETES_GPU_ID_TYPE", "value": "device-name"},
        ],
        "securityContext": {"allowPrivilegeEscalation": True, "privileged": True},
        "livenessProbe": {"periodSeconds": 10, "initialDelaySeconds": 90},
        "serviceMonitor": {
            "relabelings": [{"targetLabel": "kubernetes_node", "sourceLabels": ["__meta_kubernetes_pod_node_name"], "action": "replace"}],
            "interval": "1s",
            "honorLabels": True,
            "scrapeTimeout": "1s",
            "enabled": True,
        },
        "readinessProbe": {"initialDelaySeconds": 5},
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "cloud.google.com/gke-accelerator", "operator": "Exists"}]}]
                }
            }
        },
        "extraVolumeMounts": [
            {"mountPath": "/usr/local/nvidia", "readOnly": True, "name": "nvidia-install-dir-host"},
            {"subPath": "default-counters.csv", "mountPath": "/etc/dcgm-exporter/default-counters.csv", "name": "exporter-metrics-volume"},
        ],
        "fullnameOverride": "dcgm-exporter",
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "500m", "memory": "1Gi"}},
        "tolerations": [{"operator": "Exists"}],
    },
    create_namespace=False,
    chart=f"{CHARTS}/dcgm-exporter",
    compat="true",
    name="dcgm-exporter",
    max_history=5,
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[dcgm, dcgm_critical_pods, kps], delete_before_replace=True),
)
k8s.apiextensions.CustomResource(
    "triton-route-virtualservice",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "triton-route",
            "app.kubernetes.io/instance": "triton",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        namespace="triton",
        name="triton",
    ),
    spec={
        "http": [
            {
                "timeout": "0s",
                "route": [{"destination": {"host": "triton.triton.svc.cluster.local", "port": {"number": 8001}}}],
                "match": [{"port": 8001}],
            },
            {
                "route": [{"destination": {"host": "triton.triton.svc.cluster.local", "port": {"number": 8000}}}],
                "match": [{"port": 8000}],
                "retries": {"retryOn": "connect-failure,refused-stream,unavailable", "perTryTimeout": "30s", "attempts": 2},
            },
        ],
        "gateways": ["triton"],
        "hosts": ["*"],
    },
    api_version="networking.istio.io/v1",
    kind="VirtualService",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[chart_triton, triton_gateway]),
)
k8s.apiregistration.v1.APIService(
    "v1beta1.external.metrics.k8s.io",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "stackdriver-adapter",
            "app.kubernetes.io/instance": "stackdriver-adapter",
            "k8s-app": "custom-metrics-stackdriver-adapter",
            "run": "custom-metrics-stackdriver-adapter",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        name="v1beta1.external.metrics.k8s.io",
    ),
    spec=k8s.apiregistration.v1.APIServiceSpecArgs(
        group="external.metrics.k8s.io",
        version="v1beta1",
        insecure_skip_tls_verify=True,
        version_priority=100,
        group_priority_minimum=100,
        service=k8s.apiregistration.v1.ServiceReferenceArgs(
            port=443, namespace="custom-metrics", name="custom-metrics-stackdriver-adapter"
        ),
    ),
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster, depends_on=[deployment_custom_metrics_stackdriver_adapter, service_custom_metrics_stackdriver_adapter]
    ),
)
k8s.apiextensions.CustomResource(
    "triton-route-gateway",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "triton-route",
            "app.kubernetes.io/instance": "triton",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        namespace="triton",
        name="triton",
    ),
    spec={
        "servers": [
            {"port": {"number": 8000, "protocol": "HTTP", "name": "http-triton"}, "hosts": ["*"]},
            {"port": {"number": 8001, "protocol": "GRPC", "name": "grpc-triton"}, "hosts": ["*"]},
        ],
        "selector": {"istio": "triton-gateway"},
    },
    api_version="networking.istio.io/v1",
    kind="Gateway",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[chart_triton, triton_gateway]),
)
k8s.apiextensions.CustomResource(
    "triton-route-destinationrule",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/name": "triton-route",
            "app.kubernetes.io/instance": "triton",
            "app.kubernetes.io/managed-by": "triton-fleet",
        },
        namespace="triton",
        name="triton",
    ),
    spec={
        "host": "triton.triton.svc.cluster.local",
        "trafficPolicy": {
            "outlierDetection": {
                "maxEjectionPercent": 50,
                "interval": "10s",
                "baseEjectionTime": "30s",
                "consecutiveGatewayErrors": 5,
                "consecutive5xxErrors": 5,
            },
            "loadBalancer": {"warmup": {"duration": "60s"}, "simple": "LEAST_REQUEST"},
            "connectionPool": {"http": {"http2MaxRequests": 1000, "maxRequestsPerConnection": 0}},
        },
    },
    api_version="networking.istio.io/v1",
    kind="DestinationRule",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[chart_triton, triton_gateway]),
)
