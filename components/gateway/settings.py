"""Settings of the gateway in front of Triton."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from components.base.clusters import AnyNetwork
from components.base.errors import Problem
from components.base.load_balancers import UNRESTRICTED
from components.base.model import Model, matching
from components.base.quantities import Duration

if TYPE_CHECKING:
    from collections.abc import Iterator


_LABEL: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
Domain = Annotated[
    str,
    matching(
        rf"(?=.{{1,189}}$){_LABEL}(\.{_LABEL})*",
        "is not a domain: no client could send a Host header of that name. Write only the name, such as models.example.com: lower-case, "
        "without scheme, port, path or *.",
    ),
]
"""DNS name with room for the name of a deployment: 253 characters less 63 and a dot."""


class NoIngressSettings(Model):
    """No gateway: clients use Triton's own Services."""

    kind: Literal["none"] = "none"
    """No gateway."""


class IstioSettings(Model):
    """Istio: a gateway that balances gRPC per call instead of per connection, with or without sidecars."""

    kind: Literal["istio"]
    """Istio."""
    injection: bool = False
    """Whether Triton's pods get sidecars, as in reference 000. The gateway balances without them. They add encryption and authorization
    inside the mesh, and cost CPU and memory for every pod."""
    service_type: Literal["LoadBalancer", "NodePort", "ClusterIP"] = "LoadBalancer"
    """Type of the gateway's Service."""
    scheme: Literal["internal", "internet-facing"] = "internal"
    """Where the cloud's load balancer can be reached from."""
    source_ranges: tuple[AnyNetwork, ...] = ()
    """CIDRs that may reach the load balancer. Required with ``internet-facing``, because Triton does not authenticate clients."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Additional annotations of the gateway's Service; they override computed ones."""
    domain: Domain | None = None
    """Domain of the deployments' hosts, ``<name>.<domain>``. None: a single deployment for any host."""
    min_replicas: int = Field(default=2, ge=1)
    """Minimum number of gateway pods. With 1, a node drain stops requests until the next one is ready."""
    max_replicas: int = Field(default=5, ge=1)
    """Maximum number of gateway pods."""
    warmup: Duration = Field(default=60.0, ge=1)
    """How long a new Triton pod receives less than its share of requests, because its first ones are the slowest."""

    def _problems(self) -> Iterator[Problem]:
        if self.min_replicas > self.max_replicas:
            text = (
                f"({self.min_replicas}) is above maxReplicas ({self.max_replicas}): Kubernetes would refuse the gateway's autoscaler. "
                "Lower minReplicas or raise maxReplicas."
            )
            yield Problem(at=("min_replicas",), text=text, also=(("max_replicas",),))
        if self.scheme == "internet-facing" and self.service_type == "LoadBalancer" and not self.source_ranges:
            yield Problem(at=("source_ranges",), text=UNRESTRICTED, also=(("scheme",), ("service_type",)))
        if self.source_ranges and self.service_type != "LoadBalancer":
            text = f"would be ignored: a {self.service_type} Service has no load balancer. Remove it or set serviceType to LoadBalancer."
            yield Problem(at=("source_ranges",), text=text, also=(("service_type",),))


IngressSettings = Annotated[NoIngressSettings | IstioSettings, Field(discriminator="kind")]
"""The gateway between clients and Triton, distinguished by ``kind``."""
