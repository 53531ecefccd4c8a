"""Every version that a stack pins: charts, images, Kubernetes. Nothing else in components/ names one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class ChartPin:
    """A third-party Helm chart at one version."""

    name: str
    version: str
    repository: str
    """Helm repository of the publisher."""


# Update: read the chart's own upgrade notes first; CRDs in crds/ are not upgraded by Helm.
KUBE_PROMETHEUS_STACK: Final = ChartPin(
    name="kube-prometheus-stack", version="88.5.3", repository="https://prometheus-community.github.io/helm-charts"
)
PROMETHEUS_ADAPTER: Final = ChartPin(
    name="prometheus-adapter", version="5.3.0", repository="https://prometheus-community.github.io/helm-charts"
)
# Update: probe delays are values from 4.2.0 on; 4.8.x has serviceMonitor.scrapeTimeout, which must not exceed the interval.
DCGM_EXPORTER: Final = ChartPin(name="dcgm-exporter", version="4.8.2", repository="https://nvidia.github.io/dcgm-exporter/helm-charts")
# Update: 26.06 is the oldest that survives an S3 connection idle for 300 s (triton-inference-server/server#8767).
TRITON_IMAGE: Final = "nvcr.io/nvidia/tritonserver:26.07-py3"

# Update: read rclone's changelog for the flags in charts/triton/files/prefetch.sh; tests run them against the real program.
RCLONE_IMAGE: Final = "docker.io/rclone/rclone:1.75.2"
