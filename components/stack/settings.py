"""The settings of a whole stack file. `rules.py` has the rules between its sections."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from components.base.drain import NLB_PODS, Hops, targets
from components.base.model import Model
from components.eks.settings.addons import AutoscalerSettings, LoadBalancerSettings, NoAutoscalerSettings
from components.eks.settings.cluster import EksClusterSettings
from components.existing.settings import ExistingClusterSettings
from components.gateway.settings import IngressSettings, NoIngressSettings
from components.gke.settings.cluster import GkeClusterSettings
from components.gke.settings.stackdriver import StackdriverSettings
from components.gpu.settings import DcgmSettings, GpuPluginSettings, WarmFloorSettings
from components.helm.settings import ChartSettings
from components.images.settings import ImageSettings
from components.monitoring.settings import AdapterSettings, AlertSettings, DashboardSettings, PrometheusSettings
from components.repository.settings import RepositorySettings
from components.serving.settings import ClientSettings, ServingSettings

ClusterSettings = Annotated[ExistingClusterSettings | EksClusterSettings | GkeClusterSettings, Field(discriminator="provider")]
"""The settings of every provider, distinguished by ``provider``."""


class Settings(Model):
    """A whole stack file."""

    cluster: ClusterSettings = ExistingClusterSettings()
    """The cluster that everything runs on."""
    images: tuple[ImageSettings, ...] = ()
    """Images that the stack builds or mirrors into its own registry."""
    charts: ChartSettings = ChartSettings()
    """Where third-party charts come from."""
    repository: RepositorySettings
    """The models, and the bucket that stores them."""
    prometheus: PrometheusSettings = PrometheusSettings()
    """kube-prometheus-stack."""
    dcgm: DcgmSettings = DcgmSettings()
    """dcgm-exporter: GPU metrics."""
    adapter: AdapterSettings = AdapterSettings()
    """prometheus-adapter: Prometheus metrics for the autoscalers."""
    stackdriver: StackdriverSettings = StackdriverSettings()
    """Cloud Monitoring metrics for the autoscalers."""
    gpu_plugin: GpuPluginSettings = GpuPluginSettings()
    """NVIDIA's device plugin."""
    autoscaler: AutoscalerSettings = NoAutoscalerSettings()
    """What adds and removes nodes."""
    load_balancer: LoadBalancerSettings = LoadBalancerSettings()
    """AWS Load Balancer Controller."""
    warm_floor: tuple[WarmFloorSettings, ...] = ()
    """Placeholder pods that keep GPU nodes warm."""
    ingress: IngressSettings = NoIngressSettings()
    """Gateway between clients and Triton."""
    alerts: AlertSettings = AlertSettings()
    """Alert rules for Triton."""
    dashboard: DashboardSettings = DashboardSettings()
    """Grafana dashboard for Triton."""
    serving: tuple[ServingSettings, ...] = Field(min_length=1)
    """The Triton deployments. They share cluster, metrics and models."""
    client: ClientSettings = ClientSettings()
    """A pod for sending test requests."""

    @property
    def hops(self) -> Hops:
        """The timeouts and drains in front of all deployments, which share load balancers and gateway."""
        installed = NLB_PODS if self.load_balancer.enabled else None

        def pre_stop(entry: ServingSettings) -> float:
            return targets(entry.service.type, entry.service.annotations, installed).pre_stop(entry.drain.pre_stop)

        return Hops.of((pre_stop(entry), entry.drain.exit_timeout, entry.drain.margin) for entry in self.serving)

    @field_validator("cluster", mode="before")
    @classmethod
    def _existing_by_default(cls, value: object) -> object:
        return {"provider": "existing", **value} if isinstance(value, dict) else value

    @field_validator("repository")
    @classmethod
    def _of_the_clusters_account(cls, value: RepositorySettings, info: ValidationInfo) -> RepositorySettings:
        """Reach the bucket as the cluster's own provider does, so that nothing lands in another account, region or project."""
        cluster = info.data.get("cluster")
        if value.store == "s3" and isinstance(cluster, EksClusterSettings) and value.endpoint is None:
            place = {"region": value.region or cluster.region, "profile": value.profile or cluster.profile}
        elif value.store == "gcs" and isinstance(cluster, GkeClusterSettings):
            place = {"project": value.project or cluster.project}
        else:
            return value
        return value.model_copy(update=place)

    @field_validator("autoscaler", "ingress", mode="before")
    @classmethod
    def _none_by_default(cls, value: object) -> object:
        """Treat an empty section, the default in Pulumi.yaml, as absent."""
        return {"kind": "none"} if value == {} else value
