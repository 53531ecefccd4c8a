"""Values that components pass to each other. An output resolves once what it names is usable, so reading it is waiting for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    import pulumi
    import pulumi_kubernetes as k8s

    from components.base.drain import Targets

Cloud = Literal["existing", "eks", "gke"]


@dataclass(frozen=True, kw_only=True)
class GpuPool:
    """One kind of GPU node that a cluster has or can add. Plain values, not outputs, because they drive loops and branches."""

    name: str
    labels: Mapping[str, str]
    """Labels that only this pool's nodes have."""
    resource: str
    """Resource that a pod requests, such as ``nvidia.com/gpu`` or ``nvidia.com/mig-1g.10gb``."""
    units: int
    """Number of ``resource`` on one node, including shares."""
    sharing: Literal["none", "timeSlicing", "mps", "mig"] = "none"
    replicas: int = 1
    """Pods that share one GPU with time-slicing or MPS."""
    mig_strategy: Literal["none", "single", "mixed"] = "none"
    """Resource name of slices: nvidia.com/gpu with ``single``, nvidia.com/mig-<profile> with ``mixed``."""
    device_plugin: Literal["install", "bundled"] = "install"
    """``bundled``: the node image or the cloud brings the device plugin."""
    driver: Literal["bundled", "daemonSet"] = "bundled"
    """``bundled``: the node image or the cloud brings NVIDIA's driver."""
    os: str = ""
    """Operating system of the nodes as in the settings, such as ``al2023`` or ``cos``. Drivers differ by it."""


@dataclass(frozen=True, kw_only=True)
class ImageRegistry:
    """A repository of container images, with credentials for pushing."""

    url: pulumi.Output[str]
    """Name of its images, without tag or digest."""
    address: pulumi.Output[str]
    """Host name of the registry."""
    username: pulumi.Output[str]
    password: pulumi.Output[str]
    """A secret, usually valid for some hours. An image does not change with it."""


@dataclass(frozen=True, kw_only=True)
class AwsAccess:
    """What controllers in an EKS cluster need from the AWS account.

    A role's ARN resolves once its policies are attached. It is None with Pod Identity, or if the controller is not enabled.
    """

    region: pulumi.Output[str]
    vpc_id: pulumi.Output[str]
    kubernetes_version: str
    """Minor version, such as ``1.35``."""
    autoscaler_role_arn: pulumi.Output[str] | None = None
    """For kube-system/cluster-autoscaler."""
    load_balancer_role_arn: pulumi.Output[str] | None = None
    """For kube-system/aws-load-balancer-controller."""
    karpenter_role_arn: pulumi.Output[str] | None = None
    """For kube-system/karpenter."""
    karpenter_instance_profile: pulumi.Output[str] | None = None
    """Name of the instance profile of Karpenter's nodes; resolves once such a node can join the cluster."""
    interruption_queue: pulumi.Output[str] | None = None
    """Name of the SQS queue with interruption notices for Karpenter."""
    disk_key: pulumi.Output[str] | None = None
    """ARN of the KMS key of nodes' disks. None: the key that AWS manages."""


@dataclass(frozen=True, kw_only=True)
class GcpAccess:
    """What add-ons of a GKE cluster need from the Google Cloud project."""

    project: str
    """Project id."""
    location: str
    """Region or zone of the control plane; also the label ``location`` of the cluster's metrics."""
    region: str
    cluster: str
    """Name of the cluster; also the label ``cluster_name`` of its metrics."""
    network: pulumi.Output[str]
    """Name or self link of the VPC."""
    workload_pool: pulumi.Output[str]
    """Workload Identity pool, ``<project>.svc.id.goog``; resolves once the cluster exists, because earlier bindings fail."""
    gcp: pulumi.ProviderResource
    """Provider of the project's resources."""


@dataclass(frozen=True, kw_only=True)
class ClusterHandle:
    """A cluster with a working API server and schedulable nodes."""

    name: pulumi.Output[str]
    provider: k8s.Provider
    """Provider of all Kubernetes resources."""
    gpu_pools: tuple[GpuPool, ...] = ()
    """GPU pools that the stack creates; none on an existing cluster."""
    volumes: pulumi.Output[str] | None = None
    """Name of the StorageClass that the stack creates; resolves once its driver runs. None: the cluster brings its own storage.
    Namespaces with volume claims depend on it, because a volume is never deleted once its driver is gone."""
    aws: AwsAccess | None = None
    """Only on EKS."""
    gcp: GcpAccess | None = None
    """Only on GKE."""
    recognized: Cloud = "existing"
    """Cloud of an existing cluster, where its kubeconfig or version shows it."""

    @property
    def cloud(self) -> Cloud:
        """Cloud that runs the cluster, as far as it is known."""
        return "eks" if self.aws is not None else "gke" if self.gcp is not None else self.recognized


@dataclass(frozen=True, kw_only=True)
class RepositoryHandle:
    """A release of the model repository, complete in its object store."""

    url: pulumi.Output[str]
    """URL of the releases for pods: ``s3://bucket/prefix`` or ``s3://http://host:port/bucket/prefix``. In modes poll and explicit, the
    only repository that Triton reads."""
    urls: Mapping[str, pulumi.Output[str]]
    """``--model-repository`` of each model, by name: immutable. Empty in modes poll and explicit."""
    digest: pulumi.Output[str]
    """Content hash of the release (hex). Empty in poll and explicit."""
    digest_of: Callable[[Collection[str]], pulumi.Output[str]]
    """Content hash of some of its models (hex). Part of the pod template, so that they roll out when they change. Empty in poll and
    explicit."""
    models: tuple[str, ...]
    """Names of the models in the release."""
    sizes: Mapping[str, int]
    """Size of each model in bytes, by name."""
    mode: Literal["release", "poll", "explicit"]
    """How Triton loads new models; see RepositorySettings."""
    region: str
    credentials: pulumi.Output[dict[str, str]] | None
    """Environment variables (AWS_ACCESS_KEY_ID, ...) for a Secret; None if the service account is the identity."""
    key_file: pulumi.Output[str] | None = None
    """Content of a Google service account's key file, for a mounted Secret. Never set with ``credentials``."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Models that each ensemble loads, by the ensemble's name."""


@dataclass(frozen=True, kw_only=True)
class MetricsHandle:
    """A running Prometheus."""

    namespace: str
    url: pulumi.Output[str]
    """In-cluster base URL without port, such as ``http://kps-prometheus.monitoring.svc``; resolves once Prometheus is ready."""
    port: int

    @property
    def address(self) -> pulumi.Output[str]:
        """The URL with its port."""
        return self.url.apply(lambda url: f"{url}:{self.port}")


@dataclass(frozen=True, kw_only=True)
class ServingHandle:
    """One Triton deployment that is ready."""

    name: str
    namespace: str
    service: pulumi.Output[str]
    """In-cluster DNS name of the Service, ports 8000 (HTTP), 8001 (gRPC) and 8002 (metrics)."""
    admin_secret: str
    """Secret in ``namespace`` whose ``key`` opens Triton's admin endpoints."""


@dataclass(frozen=True, kw_only=True)
class LoadBalancerHandle:
    """A controller that creates load balancers for Services. A Service with its annotations must depend on it."""

    ready: pulumi.Output[str]
    """Name of the controller; resolves once it runs."""
    internal: Mapping[str, pulumi.Output[str]]
    """Annotations for an internal load balancer."""
    internet_facing: Mapping[str, pulumi.Output[str]]
    """Annotations for an internet-facing load balancer."""
    targets: Targets
    """What its load balancers send requests to."""


@dataclass(frozen=True, kw_only=True)
class GatewayHandle:
    """A gateway for traffic from outside the cluster."""

    namespace: str
    service: pulumi.Output[str]
    """In-cluster DNS name of the gateway's Service; resolves once its pods run."""
    selector: Mapping[str, str]
    """Labels of the gateway's pods, for Gateway objects."""
    injection: Mapping[str, pulumi.Output[str]]
    """Labels of a namespace whose pods get sidecars; they resolve once injection works. Empty without sidecars."""
