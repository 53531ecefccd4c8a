"""Configuration of containerd and the pod network, as pure functions."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from local.platform import config
from local.platform.kubernetes import CONTAINERD_SOCKET
from local.platform.plan import Component, Probe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.platform.layout import Layout

STATE: Final = "/run/containerd"
"""On the node's tmpfs: disappears with the node, as in a reboot."""


def configuration(layout: Layout, *, runc: str, shim: str, cni_plugins: str, snapshotter: str) -> str:
    """The content of config.toml, version 2 (for containerd 1.6 and 1.7; 2.x still reads it)."""

    def text(value: str) -> str:
        return json.dumps(value)  # a JSON string is a TOML basic string

    # `runtime_path` pins the shim, so that PATH can't select another.
    return f"""version = 2
root = {text(str(layout.containerd))}
state = {text(STATE)}
# A lower score than the current one needs CAP_SYS_RESOURCE; 0 changes nothing.
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = {text(CONTAINERD_SOCKET)}

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {text(config.PAUSE_IMAGE)}
  # Without CAP_SYS_RESOURCE runc fails to lower a score: "can't get final child's PID from pipe: EOF".
  restrict_oom_score_adj = true
  # A profile would be loaded into the machine's kernel and remain there.
  disable_apparmor = true
  enable_selinux = false
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {text(cni_plugins)}
    conf_dir = {text(str(layout.cni))}
    max_conf_num = 1

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = {text(snapshotter)}
    default_runtime_name = "runc"
    discard_unpacked_layers = true

    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      runtime_path = {text(shim)}

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = {text(runc)}
        SystemdCgroup = false
"""


def network_configuration() -> dict[str, Any]:
    """The CNI configuration: a bridge for all pods, without masquerading, because the node has no egress."""
    return {
        "cniVersion": "0.4.0",
        "name": "triton-fleet",
        "plugins": [
            {
                "type": "bridge",
                "bridge": config.POD_BRIDGE,
                "isDefaultGateway": True,
                "ipMasq": False,
                "hairpinMode": True,
                # Leases are on the node's tmpfs: after a restart pods get new addresses, so old leases must not persist.
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni/leases",
                    "ranges": [[{"subnet": config.POD_CIDR}]],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def component(binary: str, layout: Layout, environment: Mapping[str, str]) -> Component:
    """The container runtime."""
    return Component(
        name="containerd",
        argv=(binary, "--config", f"{layout.etc}/containerd.toml"),
        environment={**environment, "GOGC": "75"},
        probe=Probe(unix=CONTAINERD_SOCKET),
        delegate=True,
    )
