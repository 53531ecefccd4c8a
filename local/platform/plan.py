"""What the supervisor runs: one `Component` a process, as plain data that crosses into the node as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Probe:
    """How to tell that a component answers. One of the three."""

    tcp: tuple[str, int] | None = None
    unix: str | None = None
    https: tuple[str, int, str] | None = None
    """Address, port, path: GET with the bootstrap certificate, 200 is good."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """A process that is started, watched, restarted and stopped."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    """All of it: nothing is inherited from whoever started the platform."""
    after: tuple[str, ...] = ()
    """Components that must answer once before this one is first started."""
    probe: Probe | None = None
    """Without one it counts as answering as soon as it runs."""
    stop_timeout_s: float = 5.0
    """Time from SIGTERM to SIGKILL."""
    descriptors: tuple[int, ...] = ()
    """Inherited file descriptors."""
    delegate: bool = False
    """Its children outlive it (containerd's shims): killing it must not take its control group along."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that the node's PID 1 needs to know."""

    instance: str
    state: str
    """The state folder as the machine sees it."""
    keep: tuple[str, ...]
    """Folders that must stay visible although /run and /var are covered."""
    cgroup: str
    control_plane_only: bool
    components: tuple[Component, ...]

    def to_json(self) -> str:
        """As text."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that `to_json` wrote."""
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
