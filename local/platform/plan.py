"""What the supervisor runs: a `Component` for each process, passed to the node as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How to check that a component answers: exactly one of the fields is set."""

    tcp: tuple[str, int] | None = None
    unix: str | None = None
    https: tuple[str, int, str] | None = None
    """Address, port and path of a GET with the bootstrap certificate, which must return 200."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """A supervised process."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    """Its complete environment; nothing is inherited."""
    after: tuple[str, ...] = ()
    """Components that must have answered before the first start of this one."""
    probe: Probe | None = None
    """Without a probe it is ready as soon as it runs."""
    stop_timeout_s: float = 5.0
    """Seconds from SIGTERM to SIGKILL."""
    descriptors: tuple[int, ...] = ()
    """Inherited file descriptors."""
    delegate: bool = False
    """Its children outlive it (containerd's shims), so its control group must not be killed with it."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that the node's PID 1 needs."""

    instance: str
    state: str
    """The state folder's path on the machine."""
    keep: tuple[str, ...]
    """Folders that must remain visible although /run and /var are covered."""
    cgroup: str
    control_plane_only: bool
    components: tuple[Component, ...]

    def to_json(self) -> str:
        """Serialize."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Deserialize."""
        data: dict[str, Any] = json.loads(text)
        components = tuple(_component(item) for item in data.pop("components"))
        return cls(**{**data, "keep": tuple(data["keep"]), "components": components})


def _component(item: dict[str, Any]) -> Component:
    probe = item.pop("probe")
    if probe is not None:
        probe = Probe(
            tcp=tuple(probe["tcp"]) if probe["tcp"] else None,
            unix=probe["unix"],
            https=tuple(probe["https"]) if probe["https"] else None,
        )
    return Component(
        **{
            **item,
            "argv": tuple(item["argv"]),
            "after": tuple(item["after"]),
            "descriptors": tuple(item["descriptors"]),
            "probe": probe,
        }
    )
