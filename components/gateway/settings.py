"""Settings of the gateway in front of Triton."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from components.base.errors import FleetError, Problem
from components.base.model import Duration, Model


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
            raise FleetError(*problems)
        return self


IngressSettings = Annotated[NoIngressSettings | IstioSettings, Field(discriminator="kind")]
"""What stands between clients and Triton, told apart by ``kind``."""
