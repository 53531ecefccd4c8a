"""Settings of the add-ons between the cluster and Triton, and of where third-party charts come from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.settings.base import DnsLabel, Duration, Model, Problem, Problems, Quantity
from components.settings.karpenter import KarpenterSettings


class ChartSettings(Model):
    """Where third-party charts come from. One key moves all of them, as an air-gapped cluster needs."""

    source: Literal["upstream", "oci", "folder"] = "upstream"
    """``upstream``: the publishers' own repositories. ``oci``: a registry that mirrors them. ``folder``: files on this machine."""
    location: str | None = None
    """``oci``: registry path such as ``oci://registry.example.com/charts``. ``folder``: path with one folder or .tgz a chart."""

    @model_validator(mode="after")
    def _location_as_the_source_needs_it(self) -> Self:
        text = None
        if self.source == "upstream" and self.location is not None:
            text = f"({self.location}) would be ignored: source is upstream, the publishers' own repositories. Set source to oci or folder."
        elif self.source != "upstream" and not self.location:
            text = f"is missing: charts.source is {self.source}, so there is nowhere to take charts from. Add the location."
        elif self.source == "oci" and self.location is not None and not self.location.startswith("oci://"):
            text = (
                f"({self.location}) is no OCI registry path: Helm would look for a folder. Write it as oci://registry.example.com/charts."
            )
        if text is not None:
            raise Problems(Problem(at=("location",), text=text, also=(("source",),)))
        return self


class PrometheusSettings(Model):
    """kube-prometheus-stack."""

    scrape_interval: Duration = Field(default=15.0, gt=0)
    """How often Prometheus scrapes what does not ask for another interval."""
    retention: str = Field(default="7d", pattern=r"^(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$", min_length=2)
    """How long samples are kept, as Prometheus writes it (``7d``, ``1w3d``). The operator would take a wrong one and start nothing."""
    storage: Quantity | None = "50Gi"
    """Size of the volume that Prometheus keeps its data on; None keeps it in the pod, lost with it."""
    storage_class: str | None = None
    """Storage class of that volume; None means the cluster's default."""
    node_port: int | None = Field(default=None, ge=30000, le=32767)
    """NodePort of the Prometheus Service (reference 000 uses 30090); None leaves it a ClusterIP."""
    grafana: bool = True
    """Whether Grafana is installed with it."""
    alertmanager: bool = True
    """Whether Alertmanager is installed with it."""
    upgrade_crds: bool = True
    """True: a job of the chart brings the CRDs up to the chart's version before each install and upgrade (Helm itself never upgrades
    CRDs). It pulls busybox from docker.io and kubectl from registry.k8s.io; without reach to both, set False and apply CRDs yourself."""


class DcgmSettings(Model):
    """dcgm-exporter: GPU metrics."""

    enabled: bool = True
    """Whether GPU metrics are exported. Scaling by gpuUtilization needs them."""
    interval: Duration = Field(default=1.0, ge=0.1)
    """How often DCGM samples and Prometheus scrapes; 100 ms is the exporter's least. Its own default of 30 s makes a 1 s scrape re-read
    old samples."""
    scrape: Literal["serviceMonitor", "job"] = "serviceMonitor"
    """``serviceMonitor``: by the chart's ServiceMonitor. ``job``: by a raw scrape job ``gpu-metrics``, as in reference 000. Never both,
    which would count each GPU twice; both give the series the namespace and pod that own the GPU, and ``service="dcgm-exporter"``."""


class AdapterSettings(Model):
    """prometheus-adapter: Prometheus series as custom.metrics.k8s.io."""

    enabled: bool = True
    """Whether it is installed. False only where the Stackdriver adapter serves all that the deployments scale by."""
    relist_interval: Duration = Field(default=15.0, gt=0)
    """How often the adapter looks for new series: what a first sample waits until an autoscaler can see it."""


class GpuPluginSettings(Model):
    """NVIDIA's device plugin, which tells Kubernetes of GPUs."""

    enabled: bool = True
    """Whether it is installed where a pool of this stack needs it (AL2023). Pools whose node image has one (Bottlerocket) and clusters
    that were there before are left alone, for exactly one plugin may run on a node."""
    feature_discovery: bool = False
    """Whether GPU feature discovery labels nodes with GPU model, memory and driver. Brings node-feature-discovery along. Nothing here
    needs it, except pools shared by MPS, which get it in any case."""


class NoAutoscalerSettings(Model):
    """Nobody adds or takes away nodes."""

    kind: Literal["none"] = "none"
    """No node autoscaling."""


class ClusterAutoscalerSettings(Model):
    """cluster-autoscaler: resizes the node groups that the stack makes."""

    kind: Literal["clusterAutoscaler"]
    """cluster-autoscaler."""
    expander: Literal["least-waste", "priority", "random", "most-pods"] = "least-waste"
    """Which of several fitting node groups grows; ``least-waste`` leaves the fewest idle CPUs and the least idle memory."""
    scale_down_unneeded_time: Duration = Field(default=600.0, ge=60)
    """How long a node must have been unneeded before it goes. A new GPU node takes 4 to 7 minutes: shorter than that saves little."""
    max_node_provision_time: Duration = Field(default=900.0, ge=300)
    """How long a node may take to come before another group is tried: longer than a cloud without capacity takes to say so."""


AutoscalerSettings = Annotated[
    NoAutoscalerSettings | ClusterAutoscalerSettings | KarpenterSettings,
    Field(discriminator="kind"),
]
"""What adds and takes away nodes, told apart by ``kind``."""


class LoadBalancerSettings(Model):
    """AWS Load Balancer Controller: makes the load balancers that Services ask for. Only on EKS."""

    enabled: bool = False
    """Whether it is installed. Without it, EKS itself makes load balancers of an older kind, with instances as targets."""


class WarmFloorSettings(Model):
    """Placeholder pods that keep room on GPU nodes of one pool, so that a new Triton pod need not wait for a node."""

    pool: DnsLabel
    """Name of the pool."""
    pods: int = Field(ge=1)
    """How many Triton pods' room is kept: each placeholder holds one GPU (or slice)."""
    pre_pull: bool = True
    """Whether placeholders pull Triton's image first, so that the room is warm and not only empty: 354 of 425 s of a cold start went into
    the image in one published run."""


class NoIngressSettings(Model):
    """No gateway: Triton is reached through its own Services."""

    kind: Literal["none"] = "none"
    """No gateway."""


class IstioSettings(Model):
    """Istio: a gateway that balances gRPC by call and not by connection, with or without sidecars."""

    kind: Literal["istio"]
    """Istio."""
    injection: bool = False
    """Whether Triton's pods get sidecars (reference 000 has them). The gateway balances without them too, and each costs CPU and memory
    beside every GPU: they are for encryption and authorization inside the mesh."""
    service_type: Literal["LoadBalancer", "NodePort", "ClusterIP"] = "LoadBalancer"
    """Kind of the gateway's Service."""
    scheme: Literal["internal", "internet-facing"] = "internal"
    """Where a cloud's load balancer is reached from."""
    source_ranges: tuple[str, ...] = ()
    """CIDRs that may reach the load balancer. Needed when it faces the internet, where Triton would otherwise be open to all."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Further annotations of the gateway's Service; they win over those that are computed."""
    domain: str | None = None
    """Domain under which several deployments are told apart: ``<name>.<domain>`` is a deployment's host. None: one deployment, any host."""
    min_replicas: int = Field(default=2, ge=1)
    """Fewest gateway pods."""
    max_replicas: int = Field(default=5, ge=1)
    """Most gateway pods."""
    warmup: Duration = Field(default=60.0, ge=1)
    """How long a new Triton pod gets less than its share: its first requests are its slowest."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems = []
        if self.min_replicas > self.max_replicas:
            text = (
                f"({self.min_replicas}) is above maxReplicas ({self.max_replicas}): the gateway's autoscaler would be refused. "
                "Lower it or raise maxReplicas."
            )
            problems.append(Problem(at=("min_replicas",), text=text, also=(("max_replicas",),)))
        if self.scheme == "internet-facing" and self.service_type == "LoadBalancer" and not self.source_ranges:
            text = (
                "is missing while scheme is internet-facing: Triton asks nobody who they are, and everybody could use its GPUs. "
                "List the CIDRs that may reach it; 0.0.0.0/0 if that is meant."
            )
            problems.append(Problem(at=("source_ranges",), text=text, also=(("scheme",), ("service_type",))))
        if self.source_ranges and self.service_type != "LoadBalancer":
            text = f"would be ignored: a {self.service_type} Service has no load balancer. Leave it out or set serviceType to LoadBalancer."
            problems.append(Problem(at=("source_ranges",), text=text, also=(("service_type",),)))
        if problems:
            raise Problems(*problems)
        return self


IngressSettings = Annotated[NoIngressSettings | IstioSettings, Field(discriminator="kind")]
"""What stands between clients and Triton, told apart by ``kind``."""


class AlertSettings(Model):
    """Alert rules for Triton, as a PrometheusRule. Those of replicas need kube-state-metrics, which kube-prometheus-stack brings."""

    enabled: bool = False
    """Whether the rules are made."""
    queue_time: Duration = Field(default=0.5, gt=0)
    """Mean time in the queue of a pod above which it counts as overloaded: what users would notice, not what the autoscaler holds."""
    failure_ratio: float = Field(default=0.01, gt=0, lt=1)
    """Share of a model's requests that may fail."""
    at_max_for: Duration = Field(default=900.0, ge=60)
    """How long an autoscaler may want all the replicas it may have, before somebody should look."""


class DashboardSettings(Model):
    """Grafana dashboard of all Triton deployments."""

    enabled: bool = False
    """Whether it is made; Grafana's sidecar finds it by its label."""
