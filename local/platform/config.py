"""Configuration of an instance of the embedded platform: addresses, ports, folders. Only values; nothing changes the machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from local import paths
from local.platform.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NODE_NAME: Final = "triton-fleet"
NODE_IP: Final = "10.111.0.1"
NODE_NETMASK: Final = "255.255.255.0"
NODE_BRIDGE: Final = "node0"
POD_BRIDGE: Final = "pods0"
POD_CIDR: Final = "10.112.0.0/16"
SERVICE_CIDR: Final = "10.113.0.0/16"
KUBERNETES_SERVICE_IP: Final = "10.113.0.1"
DNS_IP: Final = "10.113.0.10"
DOMAIN: Final = "cluster.local"
CONTEXT: Final = "triton-fleet"

APISERVER_PORT: Final = 6443
OBJECT_STORE_PORT: Final = 7070
TRITON_HTTP_NODE_PORT: Final = 30800
TRITON_GRPC_NODE_PORT: Final = 30801
PROMETHEUS_NODE_PORT: Final = 30090

BUCKET: Final = "models"
REGION: Final = "us-east-1"

PAUSE_IMAGE: Final = "triton-fleet.local/pause:3.10"
COREDNS_IMAGE: Final = "triton-fleet.local/coredns:v1.15.0"

_HIGHEST_PORT: Final = 65535


@dataclass(frozen=True, kw_only=True)
class Forward:
    """A port on the machine's 127.0.0.1 that is forwarded to an address in the node."""

    name: str
    port: int
    target: str
    target_port: int
    scheme: str
    """The URL's scheme: http, https or grpc."""

    @property
    def url(self) -> str:
        """URL on this machine; host:port for gRPC, whose clients take no scheme."""
        return f"127.0.0.1:{self.port}" if self.scheme == "grpc" else f"{self.scheme}://127.0.0.1:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Ports on the machine's 127.0.0.1."""

    apiserver: int
    s3: int
    http: int
    """Triton's HTTP."""
    grpc: int
    """Triton's gRPC."""
    prometheus: int


@dataclass(frozen=True, kw_only=True)
class PlatformConfig:
    """One instance. Instances are independent if ``instance`` and ``port_offset`` differ.

    Raises:
        PlatformError: a port would be outside 1 to 65535.
        InstanceNameError: the name is invalid.
    """

    instance: str = paths.DEFAULT_INSTANCE
    port_offset: int = 0
    """Added to every port on 127.0.0.1."""
    control_plane_only: bool = False
    """Run only etcd, apiserver, controller-manager and scheduler: an API without a node, for tests of the engine and the plugin."""
    root: Path | None = None
    """The state folder; ``local.paths.state_root`` by default."""

    def __post_init__(self) -> None:
        paths.check_instance(self.instance)
        for forward in self.forwards:
            if not 0 < forward.port <= _HIGHEST_PORT:
                msg = (
                    f"Port offset {self.port_offset} puts {forward.name} on port {forward.port}, which is not a valid port: "
                    f"choose an offset from -15000 to {_HIGHEST_PORT - 19090} (--port-offset or TRITON_FLEET_PORT_OFFSET)."
                )
                raise PlatformError(msg)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> PlatformConfig:
        """Read TRITON_FLEET_INSTANCE and TRITON_FLEET_PORT_OFFSET.

        Raises:
            PlatformError: the offset is not a whole number.
        """
        text = environ.get("TRITON_FLEET_PORT_OFFSET", "").strip() or "0"
        try:
            offset = int(text)
        except ValueError:
            msg = f"TRITON_FLEET_PORT_OFFSET ({text!r}) must be a whole number. Unset it or set, for example, 100."
            raise PlatformError(msg) from None
        return cls(instance=environ.get("TRITON_FLEET_INSTANCE", "").strip() or paths.DEFAULT_INSTANCE, port_offset=offset)

    @property
    def state(self) -> Path:
        """The state folder, which survives a stop."""
        return self.root.absolute() if self.root is not None else paths.state_root(self.instance)

    @property
    def cgroup(self) -> str:
        """Path of the instance's control group in each hierarchy."""
        return f"/triton-fleet-{self.instance}"

    @property
    def ports(self) -> Ports:
        """The instance's ports on this machine, including those that a control-plane-only instance does not open."""
        offset = self.port_offset
        return Ports(apiserver=16443 + offset, s3=17070 + offset, http=18000 + offset, grpc=18001 + offset, prometheus=19090 + offset)

    @property
    def forwards(self) -> tuple[Forward, ...]:
        """Every port on 127.0.0.1, in binding order."""

        def forward(name: str, port: int, target_port: int, scheme: str) -> Forward:
            return Forward(name=name, port=port, target=NODE_IP, target_port=target_port, scheme=scheme)

        ports = self.ports
        api = (forward("apiserver", ports.apiserver, APISERVER_PORT, "https"),)
        if self.control_plane_only:
            return api
        return (
            *api,
            forward("object-store", ports.s3, OBJECT_STORE_PORT, "http"),
            forward("triton-http", ports.http, TRITON_HTTP_NODE_PORT, "http"),
            forward("triton-grpc", ports.grpc, TRITON_GRPC_NODE_PORT, "grpc"),
            forward("prometheus", ports.prometheus, PROMETHEUS_NODE_PORT, "http"),
        )

    @property
    def endpoints(self) -> dict[str, str]:
        """URLs on this machine by name."""
        return {forward.name: forward.url for forward in self.forwards}
