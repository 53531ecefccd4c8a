"""The settings tree: what a stack file may say, checked as a whole before anything is created."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from pydantic import Field, field_validator

from components.base.errors import Problem
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
from components.stack.capacity import architectures, capacity_problems
from components.stack.cluster import ClusterSettings
from components.stack.gke import stack_problems
from components.stack.images import image_problems
from components.stack.metrics import metric_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.base.errors import FieldPath

__all__ = ["Settings"]

_SHORTEST_STARTUP_S: Final = 10
"""tritonserver itself takes some seconds before it looks at the first model; a probe asks every few seconds."""

_LONGEST_DRAIN_S: Final = 3600
"""What managed node groups wait at most before they end a node (GKE: "respects PodDisruptionBudget and graceful termination for up to one
hour")."""

_ON_AWS: Final = frozenset({"eks"})
"""Providers whose clusters belong to an AWS account that the stack knows."""

_WITH_POOLS: Final = frozenset({"eks", "gke"})
"""Providers whose GPU pools the stack makes."""


class Settings(Model):
    """Everything that a stack file says, in one frozen tree."""

    cluster: ClusterSettings = ExistingClusterSettings()
    """The cluster that everything runs on."""
    images: tuple[ImageSettings, ...] = ()
    """Images that the stack builds or mirrors into its own registry."""
    charts: ChartSettings = ChartSettings()
    """Where third-party charts come from."""
    repository: RepositorySettings
    """The models and the bucket that they are released to."""
    prometheus: PrometheusSettings = PrometheusSettings()
    """kube-prometheus-stack."""
    dcgm: DcgmSettings = DcgmSettings()
    """dcgm-exporter: GPU metrics."""
    adapter: AdapterSettings = AdapterSettings()
    """prometheus-adapter: what the autoscalers read."""
    stackdriver: StackdriverSettings = StackdriverSettings()
    """Cloud Monitoring's metrics for the autoscalers."""
    gpu_plugin: GpuPluginSettings = GpuPluginSettings()
    """NVIDIA's device plugin."""
    autoscaler: AutoscalerSettings = NoAutoscalerSettings()
    """What adds and takes away nodes."""
    load_balancer: LoadBalancerSettings = LoadBalancerSettings()
    """AWS Load Balancer Controller."""
    warm_floor: tuple[WarmFloorSettings, ...] = ()
    """Room that is kept on GPU nodes by placeholder pods."""
    ingress: IngressSettings = NoIngressSettings()
    """What stands between clients and Triton."""
    alerts: AlertSettings = AlertSettings()
    """Alert rules for Triton."""
    dashboard: DashboardSettings = DashboardSettings()
    """Grafana dashboard for Triton."""
    serving: tuple[ServingSettings, ...] = Field(min_length=1)
    """The Triton deployments. They share cluster, metrics and models."""
    client: ClientSettings = ClientSettings()
    """A pod to ask them from."""

    @field_validator("cluster", mode="before")
    @classmethod
    def _existing_unless_told(cls, value: object) -> object:
        return {"provider": "existing", **value} if isinstance(value, dict) else value

    @field_validator("autoscaler", "ingress", mode="before")
    @classmethod
    def _none_unless_told(cls, value: object) -> object:
        """An empty section is an absent one: Pulumi.yaml's default for each."""
        return {"kind": "none"} if value == {} else value

    def _problems(self) -> list[Problem]:
        problems = [*self._names(), *self._models(), *self._node_ports(), *self._patience()]
        problems += [*self._addons(), *self._modes(), *metric_problems(self)]
        problems += [*self._images(), *self._identity()]
        if isinstance(self.cluster, GkeClusterSettings):
            problems += stack_problems(
                self.cluster,
                repository=self.repository,
                prometheus=self.prometheus,
                dcgm=self.dcgm,
                serving=self.serving,
                images=self.images,
            )
        if isinstance(self.cluster, (EksClusterSettings, GkeClusterSettings)):
            problems += capacity_problems(self.cluster, self.serving, self.autoscaler, self.warm_floor)
        return problems

    def _names(self) -> Iterator[Problem]:
        seen: dict[str, int] = {}
        for index, entry in enumerate(self.serving):
            first = seen.setdefault(entry.name, index)
            if first != index:
                yield Problem(
                    at=("serving", index, "name"),
                    text=f"({entry.name}) is serving[{first}]'s name too: one would overwrite the other. "
                    "Give each deployment a name of its own.",
                    also=(("serving", first, "name"),),
                )

    def _images(self) -> Iterator[Problem]:
        cluster, autoscaler = self.cluster, self.autoscaler
        return image_problems(
            self.images,
            self.serving,
            registry=getattr(cluster, "image_repository", None) is not None,
            architectures=lambda entry: frozenset() if cluster.provider == "existing" else architectures(entry, cluster, autoscaler),
        )

    def _models(self) -> Iterator[Problem]:
        if self.repository.models is None:
            return  # every sub-folder: known once the folder is scanned
        for index, entry in enumerate(self.serving):
            missing = [name for name in entry.models or () if name not in self.repository.models]
            if missing:
                yield Problem(
                    at=("serving", index, "models"),
                    text=f"names {', '.join(missing)}, absent from repository.models: Triton would not start. "
                    "Add them there, or leave them out here.",
                    also=(("repository", "models"),),
                )

    def _identity(self) -> Iterator[Problem]:
        """Yield a bucket of Google's that is to be read by an identity of AWS'; the other way round is GKE's to tell."""
        repository = self.repository
        if self.cluster.provider in _ON_AWS and (repository.store, repository.credentials) == ("gcs", "serviceAccount"):
            yield Problem(
                at=("repository", "credentials"),
                text="is serviceAccount with store: gcs on EKS: Google knows no service account of this cluster, and Triton would read "
                "nothing. Set store: s3, or credentials: keyFile.",
                also=(("repository", "store"), ("cluster", "provider")),
            )

    def _modes(self) -> Iterator[Problem]:
        mode = self.repository.mode
        for index, entry in enumerate(self.serving):
            if entry.prefetch.enabled and mode != "release":
                yield Problem(
                    at=("serving", index, "prefetch"),
                    text=f"is on with repository.mode {mode}: Triton would read a copy that never changes. "
                    "Turn it off, or use mode release.",
                    also=(("repository", "mode"),),
                )
            if entry.models is not None and mode == "poll":
                yield Problem(
                    at=("serving", index, "models"),
                    text="names models with repository.mode poll: Triton would load all that is there, whatever they name. "
                    "Leave them out, or use mode release or explicit.",
                    also=(("repository", "mode"),),
                )

    def _node_ports(self) -> Iterator[Problem]:
        ports: list[tuple[FieldPath, int | None]] = [(("prometheus", "node_port"), self.prometheus.node_port)]
        for index, entry in enumerate(self.serving):
            ports.append((("serving", index, "service", "http_node_port"), entry.service.http_node_port))
            ports.append((("serving", index, "service", "grpc_node_port"), entry.service.grpc_node_port))
        taken = Counter(port for _, port in ports if port is not None)
        first: dict[int, FieldPath] = {}
        for path, port in ports:
            if port is None or taken[port] == 1:
                continue
            other = first.setdefault(port, path)
            if path != other and path[:2] != other[:2]:  # within one Service the entry itself has told
                yield Problem(
                    at=path,
                    text=f"({port}) is the node port of another Service of this stack: Kubernetes would refuse the second. "
                    "Give it another port.",
                    also=(other,),
                )

    def _addons(self) -> Iterator[Problem]:
        provider = ("cluster", "provider")
        if self.cluster.provider not in _ON_AWS:
            if self.load_balancer.enabled:
                yield Problem(
                    at=("load_balancer", "enabled"),
                    text=f"is true but cluster.provider is {self.cluster.provider}: the controller makes load balancers of AWS and has no "
                    "account here. Leave it out.",
                    also=(provider,),
                )
            if self.autoscaler.kind != "none":
                why = (
                    "GKE scales its pools itself, between their min and max"
                    if self.cluster.provider == "gke"
                    else "there is no account to start nodes in"
                )
                yield Problem(
                    at=("autoscaler", "kind"),
                    text=f"is {self.autoscaler.kind} but cluster.provider is {self.cluster.provider}: {why}. Leave it out; "
                    "a managed cluster scales its own nodes.",
                    also=(provider,),
                )
            if self.warm_floor and self.cluster.provider not in _WITH_POOLS:
                yield Problem(
                    at=("warm_floor",),
                    text=f"names pools but cluster.provider is {self.cluster.provider}: the stack makes no GPU pool there and knows none. "
                    "Leave it out.",
                    also=(provider,),
                )
        if self.ingress.kind == "istio" and self.ingress.domain is None and len(self.serving) > 1:
            yield Problem(
                at=("ingress", "domain"),
                text=f"is missing with {len(self.serving)} deployments behind one gateway: nothing would tell their requests apart. "
                "Name a domain; each deployment is then <name>.<domain>.",
                also=(("serving",),),
            )
        if self.dashboard.enabled and not self.prometheus.grafana:
            yield Problem(
                at=("dashboard", "enabled"),
                text="is true but prometheus.grafana is false: nobody would show it. Install Grafana or leave the dashboard out.",
                also=(("prometheus", "grafana"),),
            )
        seen: dict[str, int] = {}
        for index, floor in enumerate(self.warm_floor):
            first = seen.setdefault(floor.pool, index)
            if first != index:
                yield Problem(
                    at=("warm_floor", index, "pool"),
                    text=f"({floor.pool}) is warmFloor[{first}]'s pool too: one would overwrite the other. Add their pods up in one entry.",
                    also=(("warm_floor", first, "pool"),),
                )

    def _patience(self) -> Iterator[Problem]:
        for index, entry in enumerate(self.serving):
            if entry.startup_budget < _SHORTEST_STARTUP_S:
                yield Problem(
                    at=("serving", index, "startup_budget"),
                    text=f"({entry.startup_budget:g} s) is below {_SHORTEST_STARTUP_S} s: pods would be killed while they load, "
                    "again and again. "
                    "Raise it to the longest time that loading may take.",
                )
            drain = entry.drain.pre_stop + entry.drain.exit_timeout
            if drain > _LONGEST_DRAIN_S:
                yield Problem(
                    at=("serving", index, "drain"),
                    text=f"takes {drain:g} s (preStop and exitTimeout), more than {_LONGEST_DRAIN_S} s: nodes are taken away "
                    "before it ends and "
                    "requests are lost after all. Shorten one of them.",
                )
