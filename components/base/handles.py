"""What rooms hand to each other. A handle's outputs resolve only when what they name is usable, so that reading one is waiting for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pulumi
    import pulumi_kubernetes as k8s


@dataclass(frozen=True, kw_only=True)
class GpuPool:
    """One kind of GPU node that a cluster has or can grow. Plain values, decided from the settings: they drive loops and branches."""

    name: str
    labels: Mapping[str, str]
    """Labels that exactly this pool's nodes carry."""
    resource: str
    """What a pod asks for there, such as ``nvidia.com/gpu`` or ``nvidia.com/mig-1g.10gb``."""
    units: int
    """How many of ``resource`` one node offers, sharing counted in."""
    sharing: Literal["none", "timeSlicing", "mps", "mig"] = "none"
    replicas: int = 1
    """Sharers of one GPU under time-slicing and MPS."""
    mig_strategy: Literal["none", "single", "mixed"] = "none"
    """``single`` offers slices as nvidia.com/gpu, ``mixed`` as nvidia.com/mig-<profile>."""
    device_plugin: Literal["install", "bundled"] = "install"
    """Whether something must tell Kubernetes of the GPUs, or the node's image or the cloud does it."""
    driver: Literal["bundled", "daemonSet"] = "bundled"
    """Whether the node's image or the cloud brings NVIDIA's driver, or a DaemonSet must install it."""
    os: str = ""
    """Operating system of the nodes as the settings call it, such as ``al2023``, ``cos`` or ``ubuntu``: drivers differ."""


@dataclass(frozen=True, kw_only=True)
class ImageRegistry:
    """A repository of container images, and who may push to it."""

    url: pulumi.Output[str]
    """What images are named by, before ``@`` or ``:``."""
    address: pulumi.Output[str]
    """Host of the registry."""
    username: pulumi.Output[str]
    password: pulumi.Output[str]
    """A secret, as a rule of some hours; another one is no change of an image."""


@dataclass(frozen=True, kw_only=True)
class AwsAccess:
    """What controllers inside an EKS cluster need to know of the account. A role's ARN resolves once its policies are attached.

    A role that is None: its service account gets the role by a Pod Identity association, or nobody asked for it.
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
    """Name of the instance profile of nodes that Karpenter starts; resolves once such a node could join."""
    interruption_queue: pulumi.Output[str] | None = None
    """Name of the SQS queue that tells Karpenter of nodes about to be taken away."""
    disk_key: pulumi.Output[str] | None = None
    """ARN of the KMS key of nodes' disks; None for AWS' own."""


@dataclass(frozen=True, kw_only=True)
class GcpAccess:
    """What runs inside a GKE cluster needs to know of the project around it. Plain values, but for what Google names."""

    project: str
    """Id of the project."""
    location: str
    """Region or zone of the control plane: label ``location`` of the cluster's metrics."""
    region: str
    cluster: str
    """Name of the cluster: label ``cluster_name`` of its metrics."""
    network: pulumi.Output[str]
    """Name or self link of the VPC."""
    workload_pool: pulumi.Output[str]
    """Workload Identity pool, ``<project>.svc.id.goog``; resolves once the cluster is there: bindings made earlier would be refused."""
    gcp: pulumi.ProviderResource
    """What makes Google's resources in the project."""


@dataclass(frozen=True, kw_only=True)
class ClusterHandle:
    """A cluster whose API server answers and whose nodes take pods."""

    name: pulumi.Output[str]
    provider: k8s.Provider
    """Every Kubernetes resource of the fleet is made through this provider."""
    gpu_pools: tuple[GpuPool, ...] = ()
    """GPU pools that the stack itself makes; none on a cluster that was there before."""
    volumes: pulumi.Output[str] | None = None
    """Name of the StorageClass that the stack makes; resolves once its driver runs. The namespace of what claims a volume comes after it
    and goes before it: a volume whose driver is gone is never deleted. None where volumes are the cluster's own affair."""
    aws: AwsAccess | None = None
    """Only on EKS."""
    gcp: GcpAccess | None = None
    """Only on GKE."""


@dataclass(frozen=True, kw_only=True)
class RepositoryHandle:
    """A model repository release that is whole in its object store."""

    url: pulumi.Output[str]
    """Where releases lie, as seen from a pod: ``s3://bucket/prefix`` or ``s3://http://host:port/bucket/prefix``. In the modes poll and
    explicit: the one repository that Triton reads."""
    urls: Mapping[str, pulumi.Output[str]]
    """What --model-repository takes for each model, by name: one repository a model, each immutable. Empty in modes poll and
    explicit."""
    digest: pulumi.Output[str]
    """Content hash of the release (hex): goes into the pod template, so that changed models roll out. Empty in modes poll and
    explicit."""
    models: tuple[str, ...]
    """Names of the models in the release."""
    sizes: Mapping[str, int]
    """Bytes of each model, by name."""
    mode: Literal["release", "poll", "explicit"]
    """How Triton learns of other models; see RepositorySettings."""
    region: str
    credentials: pulumi.Output[dict[str, str]] | None
    """Environment variables (AWS_ACCESS_KEY_ID, ...) for a Secret, or None where the service account is the identity."""
    key_file: pulumi.Output[str] | None = None
    """Content of a Google service account's key file (a secret) for a Secret that is mounted, or None. Never with ``credentials``."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Models that a model loads with itself (an ensemble's steps), by name; absent for a model that loads none."""


@dataclass(frozen=True, kw_only=True)
class MetricsHandle:
    """A Prometheus that answers queries."""

    namespace: str
    url: pulumi.Output[str]
    """In-cluster base URL without port, such as ``http://kps-prometheus.monitoring.svc``; resolves once its release is up."""
    port: int


@dataclass(frozen=True, kw_only=True)
class CustomMetricsHandle:
    """custom.metrics.k8s.io, served."""

    ready: pulumi.Output[str]
    """Name of the APIService; resolves once the adapter's release is up."""


@dataclass(frozen=True, kw_only=True)
class ServingHandle:
    """One Triton deployment that is ready."""

    name: str
    namespace: str
    service: pulumi.Output[str]
    """In-cluster DNS name of the Service, ports 8000 (HTTP), 8001 (gRPC) and 8002 (metrics)."""


@dataclass(frozen=True, kw_only=True)
class LoadBalancerHandle:
    """A controller that makes load balancers for Services. What carries its annotations comes after it and goes before it."""

    ready: pulumi.Output[str]
    """Name of the controller; resolves once it runs."""
    internal: Mapping[str, pulumi.Output[str]]
    """Annotations of a Service whose load balancer is reached from the network inside."""
    internet_facing: Mapping[str, pulumi.Output[str]]
    """Annotations of a Service whose load balancer is reached from the internet."""


@dataclass(frozen=True, kw_only=True)
class GatewayHandle:
    """A gateway that takes traffic from outside and can be told where to send it."""

    namespace: str
    service: pulumi.Output[str]
    """In-cluster DNS name of the gateway's Service; resolves once its pods run."""
    selector: Mapping[str, str]
    """Labels of the gateway's pods: what a Gateway object selects them by."""
    injection: Mapping[str, pulumi.Output[str]]
    """Labels of a namespace whose pods get sidecars, known once sidecars are given; empty where the setting leaves them out."""
