"""What charts/triton may render: Kubernetes objects that refuse every field they don't know."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Part(BaseModel):
    """A piece of a Kubernetes object: camelCase, and a field that is not named here is a mistake in the chart."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True, frozen=True)


class Metadata(Part):
    name: str
    namespace: str
    labels: dict[str, str]
    annotations: dict[str, str] = {}


class LabelSelector(Part):
    match_labels: dict[str, str]


class HttpGet(Part):
    path: str
    port: str


class Probe(Part):
    http_get: HttpGet
    period_seconds: int
    timeout_seconds: int
    failure_threshold: int

    @property
    def budget(self) -> int:
        """Seconds until it gives up."""
        return self.period_seconds * self.failure_threshold


class Sleep(Part):
    seconds: int = Field(ge=1)


class Hook(Part):
    sleep: Sleep


class Lifecycle(Part):
    pre_stop: Hook


class ContainerPort(Part):
    name: str = Field(max_length=15)
    container_port: int
    protocol: Literal["TCP"]


class SecretKeyRef(Part):
    name: str
    key: str


class ValueFrom(Part):
    secret_key_ref: SecretKeyRef


class EnvVar(Part):
    name: str
    value: str | None = None
    value_from: ValueFrom | None = None


class SecretRef(Part):
    name: str


class EnvFrom(Part):
    secret_ref: SecretRef


class Resources(Part):
    requests: dict[str, str]
    limits: dict[str, str]


class Capabilities(Part):
    drop: list[str]


class ContainerSecurity(Part):
    allow_privilege_escalation: bool
    read_only_root_filesystem: bool
    capabilities: Capabilities


class Mount(Part):
    name: str
    mount_path: str
    read_only: bool = False


class KeyToPath(Part):
    key: str
    path: str


class SecretVolume(Part):
    secret_name: str
    default_mode: int
    items: list[KeyToPath]


class Container(Part):
    name: str
    image: str
    image_pull_policy: str
    args: list[str]
    env: list[EnvVar]
    env_from: list[EnvFrom] = []
    ports: list[ContainerPort]
    startup_probe: Probe
    readiness_probe: Probe
    liveness_probe: Probe
    lifecycle: Lifecycle | None = None
    resources: Resources
    security_context: ContainerSecurity
    volume_mounts: list[Mount]

    def flag(self, name: str) -> str:
        """Value of the one flag ``--name``."""
        (value,) = (arg.split("=", 1)[1] for arg in self.args if arg.startswith(f"--{name}="))
        return value


class InitContainer(Part):
    name: str
    image: str
    image_pull_policy: str
    command: list[str]
    env: list[EnvVar] = []
    env_from: list[EnvFrom] = []
    termination_message_policy: str
    resources: Resources
    security_context: ContainerSecurity
    volume_mounts: list[Mount] = []

    def variable(self, name: str) -> str | None:
        """Value of an environment variable; None when it is not set."""
        values = [entry.value for entry in self.env if entry.name == name]
        assert len(values) <= 1, name
        return values[0] if values else None


class EmptyDir(Part):
    medium: Literal["Memory"] | None = None
    size_limit: str | None = None


class Volume(Part):
    name: str
    empty_dir: EmptyDir | None = None
    ephemeral: dict[str, Any] | None = None
    secret: SecretVolume | None = None


class Seccomp(Part):
    type: Literal["RuntimeDefault"]


class PodSecurity(Part):
    run_as_non_root: bool
    run_as_user: int
    run_as_group: int
    fs_group: int
    seccomp_profile: Seccomp


class Toleration(Part):
    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None


class Spread(Part):
    topology_key: str
    max_skew: int
    when_unsatisfiable: str
    label_selector: LabelSelector
    match_label_keys: list[str]


class PodSpec(Part):
    service_account_name: str
    automount_service_account_token: bool
    host_ipc: bool | None = Field(default=None, alias="hostIPC")
    enable_service_links: bool
    termination_grace_period_seconds: int
    security_context: PodSecurity
    image_pull_secrets: list[SecretRef] = []
    priority_class_name: str | None = None
    runtime_class_name: str | None = None
    node_selector: dict[str, str] = {}
    affinity: dict[str, Any] = {}
    tolerations: list[Toleration] = []
    topology_spread_constraints: list[Spread]
    init_containers: list[InitContainer] = Field(default=[], max_length=2)
    containers: list[Container] = Field(min_length=1, max_length=1)
    volumes: list[Volume]


class TemplateMetadata(Part):
    labels: dict[str, str]
    annotations: dict[str, str]


class Template(Part):
    metadata: TemplateMetadata
    spec: PodSpec


class RollingUpdate(Part):
    max_unavailable: int
    max_surge: int


class Strategy(Part):
    type: Literal["RollingUpdate"]
    rolling_update: RollingUpdate


class DeploymentSpec(Part):
    replicas: int | None = None
    progress_deadline_seconds: int
    selector: LabelSelector
    strategy: Strategy
    template: Template


class Deployment(Part):
    api_version: Literal["apps/v1"]
    kind: Literal["Deployment"]
    metadata: Metadata
    spec: DeploymentSpec

    @property
    def pod(self) -> PodSpec:
        return self.spec.template.spec

    @property
    def triton(self) -> Container:
        return self.pod.containers[0]

    @property
    def prefetch(self) -> InitContainer:
        (container,) = self.pod.init_containers
        return container


class ServicePort(Part):
    name: str
    port: int
    target_port: str
    protocol: Literal["TCP"]
    app_protocol: str
    node_port: int | None = None


class ServiceSpec(Part):
    load_balancer_source_ranges: list[str] | None = None
    type: str
    selector: dict[str, str]
    ports: list[ServicePort]


class Service(Part):
    api_version: Literal["v1"]
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec


class ServiceAccount(Part):
    api_version: Literal["v1"]
    kind: Literal["ServiceAccount"]
    metadata: Metadata
    automount_service_account_token: bool


class ScaleTarget(Part):
    api_version: str
    kind: str
    name: str


class HpaSpec(Part):
    scale_target_ref: ScaleTarget
    min_replicas: int
    max_replicas: int
    metrics: list[dict[str, Any]]
    behavior: dict[str, Any]


class Hpa(Part):
    api_version: Literal["autoscaling/v2"]
    kind: Literal["HorizontalPodAutoscaler"]
    metadata: Metadata
    spec: HpaSpec

    @property
    def names(self) -> list[str]:
        """Metrics that it reads, in order."""
        return [(metric.get("pods") or metric["object"])["metric"]["name"] for metric in self.spec.metrics]


class Relabeling(Part):
    action: Literal["replace"]
    source_labels: list[str]
    target_label: str


class Endpoint(Part):
    port: str
    path: str
    interval: str
    honor_labels: bool
    relabelings: list[Relabeling]


class Names(Part):
    match_names: list[str]


class PodMonitorSpec(Part):
    selector: LabelSelector
    namespace_selector: Names
    pod_metrics_endpoints: list[Endpoint] = Field(min_length=1, max_length=1)


class PodMonitor(Part):
    api_version: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PodMonitor"]
    metadata: Metadata
    spec: PodMonitorSpec


class BudgetSpec(Part):
    max_unavailable: int
    unhealthy_pod_eviction_policy: Literal["AlwaysAllow"]
    selector: LabelSelector


class Budget(Part):
    api_version: Literal["policy/v1"]
    kind: Literal["PodDisruptionBudget"]
    metadata: Metadata
    spec: BudgetSpec


class Secret(Part):
    api_version: Literal["v1"]
    kind: Literal["Secret"]
    metadata: Metadata
    type: Literal["Opaque"]
    data: dict[Literal["key"], str]


class PolicyPort(Part):
    port: int | str
    protocol: Literal["TCP", "UDP"]


class IpBlock(Part):
    cidr: str


class OptionalLabels(Part):
    match_labels: dict[str, str] = {}


class Peer(Part):
    pod_selector: OptionalLabels | None = None
    namespace_selector: OptionalLabels | None = None
    ip_block: IpBlock | None = None


class IngressRule(Part):
    ports: list[PolicyPort] = Field(min_length=1)
    peers: list[Peer] = Field(default=[], alias="from")


class EgressRule(Part):
    ports: list[PolicyPort] = []
    peers: list[Peer] = Field(default=[], alias="to")


class PolicySpec(Part):
    pod_selector: LabelSelector
    policy_types: list[Literal["Ingress", "Egress"]]
    ingress: list[IngressRule]
    egress: list[EgressRule]


class NetworkPolicy(Part):
    api_version: Literal["networking.k8s.io/v1"]
    kind: Literal["NetworkPolicy"]
    metadata: Metadata
    spec: PolicySpec


Kind = TypeVar("Kind", bound=Part)
KINDS: dict[str, type[Part]] = {
    "Deployment": Deployment,
    "Service": Service,
    "ServiceAccount": ServiceAccount,
    "HorizontalPodAutoscaler": Hpa,
    "PodMonitor": PodMonitor,
    "PodDisruptionBudget": Budget,
    "NetworkPolicy": NetworkPolicy,
    "Secret": Secret,
}
