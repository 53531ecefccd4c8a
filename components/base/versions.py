"""Every version that a stack pins: charts, images, Kubernetes. Nothing else in components/ names one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class ChartPin:
    """A third-party Helm chart at one version."""

    name: str
    version: str
    repository: str
    """Helm repository of the publisher."""


_PROMETHEUS_COMMUNITY: Final = "https://prometheus-community.github.io/helm-charts"
# Update: read the chart's own upgrade notes first; CRDs in crds/ are not upgraded by Helm.
KUBE_PROMETHEUS_STACK: Final = ChartPin("kube-prometheus-stack", "88.5.3", _PROMETHEUS_COMMUNITY)
PROMETHEUS_ADAPTER: Final = ChartPin("prometheus-adapter", "5.3.0", _PROMETHEUS_COMMUNITY)
# Update: probe delays are values from 4.2.0 on; 4.8.x has serviceMonitor.scrapeTimeout, which must not exceed the interval.
DCGM_EXPORTER: Final = ChartPin("dcgm-exporter", "4.8.2", "https://nvidia.github.io/dcgm-exporter/helm-charts")
# Update: the chart's config values are strings of the plugin's own file format; see that version: v1 is still read.
NVIDIA_DEVICE_PLUGIN: Final = ChartPin("nvidia-device-plugin", "0.20.0", "https://nvidia.github.io/k8s-device-plugin")
# Update: the image follows the cluster's minor version (cluster_autoscaler_image below), not the chart's own default.
CLUSTER_AUTOSCALER: Final = ChartPin("cluster-autoscaler", "9.59.0", "https://kubernetes.github.io/autoscaler")
# Update: both together, and the six IAM policies with them: they are written for one version.
KARPENTER: Final = ChartPin("karpenter", "1.14.1", "oci://public.ecr.aws/karpenter")
KARPENTER_CRD: Final = ChartPin("karpenter-crd", "1.14.1", "oci://public.ecr.aws/karpenter")
# Update: the IAM policy of the controller's role is that of the same tag.
LOAD_BALANCER_CONTROLLER: Final = ChartPin("aws-load-balancer-controller", "3.5.0", "https://aws.github.io/eks-charts")
# Update: all three together, one minor at a time; base.validationFailurePolicy is there from 1.29.3 on.
_ISTIO_VERSION: Final = "1.30.3"
_ISTIO_REPOSITORY: Final = "https://istio-release.storage.googleapis.com/charts"
ISTIO_BASE: Final = ChartPin("base", _ISTIO_VERSION, _ISTIO_REPOSITORY)
ISTIOD: Final = ChartPin("istiod", _ISTIO_VERSION, _ISTIO_REPOSITORY)
ISTIO_GATEWAY: Final = ChartPin("gateway", _ISTIO_VERSION, _ISTIO_REPOSITORY)
# Update: any release; it only sleeps. Nodes have a pause image, but its name differs between clouds.
PAUSE_IMAGE: Final = "registry.k8s.io/pause:3.10"
_CLUSTER_AUTOSCALER_PATCHES: Final = {"1.34": "v1.34.5", "1.35": "v1.35.0"}
# Update: both together. 26.06 is the oldest that survives an S3 connection idle for 300 s (triton-inference-server/server#8767).
TRITON_IMAGE: Final = "nvcr.io/nvidia/tritonserver:26.07-py3"
TRITON_CLIENT_IMAGE: Final = "nvcr.io/nvidia/tritonserver:26.07-py3-sdk"
# Update: compare deploy/production/adapter_new_resource_model.yaml of GoogleCloudPlatform/k8s-stackdriver (commit 673c7dd8 has this image;
# its tags lag behind) with components/gke/stackdriver.py: flags, roles, APIServices.
STACKDRIVER_ADAPTER_IMAGE: Final = "gcr.io/gke-release/custom-metrics-stackdriver-adapter:v0.16.9-gke.0"
# Update: nvidia-driver-installer/cos/daemonset-preloaded.yaml of GoogleCloudPlatform/container-engine-accelerators (commit 992db812). The
# installers themselves have no registry: GKE puts the one that fits a node's kernel on the node.
COS_DRIVER_INSTALLER: Final = "cos-nvidia-installer:fixed"
UBUNTU_DRIVER_INSTALLER: Final = "gke-nvidia-installer:fixed"
GPU_PARTITION_IMAGE: Final = (
    "gcr.io/gke-release/nvidia-partition-gpu@sha256:de12f85ebfb4fb6c1893cd30c23aab662a72fa0448f97ef74fccb82d7522ef17"
)
GKE_PAUSE_IMAGE: Final = "gke.gcr.io/pause:3.8@sha256:880e63f94b145e46f1b1082bb71b85e21f16b99b180b9996407d61240ceb9830"
# Update: read rclone's changelog for the flags in charts/triton/files/prefetch.sh; tests run them against the real program.
RCLONE_IMAGE: Final = "docker.io/rclone/rclone:1.75.2"


def cluster_autoscaler_image(kubernetes_version: str) -> str:
    """Tag of the cluster autoscaler for a cluster of minor ``kubernetes_version`` (such as ``1.35``).

    The autoscaler simulates the scheduler and is released with it, one minor a Kubernetes minor; every minor has a patch 0.
    """
    return _CLUSTER_AUTOSCALER_PATCHES.get(kubernetes_version, f"v{kubernetes_version}.0")
