"""Which processes the node runs, and the configuration files that they read."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from local import paths
from local.platform import containerd, kubernetes, objectstore, preflight
from local.platform.errors import PlatformError
from local.platform.layout import INSIDE, Layout
from local.platform.plan import Component, Plan

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from local.platform.config import Forward, PlatformConfig


class Tools(Protocol):
    """The part of ``local.toolchain.Toolchain`` that the platform uses."""

    def path(self, name: str) -> Path:
        """Path of the tool."""
        ...


class Components:
    """The components of one instance.

    Args:
        config: the instance.
        toolchain: finds the programs; None where nothing is started.
    """

    def __init__(self, config: PlatformConfig, toolchain: Tools | None) -> None:
        self.config = config
        self.layout = Layout(config.state)
        self._toolchain = toolchain

    def write(self, bound: Sequence[tuple[Forward, socket.socket]], snapshotter: str) -> None:
        """Write the plan and every file that a component reads, with the paths that the node sees.

        Args:
            bound: the listening sockets that the forwarder takes over.
            snapshotter: containerd's snapshotter; unused if only the control plane runs.

        Raises:
            OSError: a file can't be written.
        """
        layout, inside = self.layout, Layout(INSIDE)
        self._write_kubeconfig(layout.kubeconfig, self.config.endpoints["apiserver"], "admin")
        for user in ("controller-manager", "scheduler", "kubelet", "kube-proxy"):
            self._write_kubeconfig(layout.component_kubeconfig(user), kubernetes.APISERVER_URL, user)
        components = self.control_plane(inside)
        if not self.config.control_plane_only:
            components += self.node(inside, snapshotter)
        arguments = [f"{listener.fileno()}={forward.target}:{forward.target_port}" for forward, listener in bound]
        components.append(
            Component(
                name="forwarder",
                argv=(sys.executable, "-m", "local.platform.forward", *arguments),
                environment=preflight.child_environment(),
                descriptors=tuple(listener.fileno() for _, listener in bound),
            )
        )
        binaries = {str(Path(item.argv[0]).resolve().parent) for item in components}
        plan = Plan(
            instance=self.config.instance,
            state=str(layout.root),
            keep=(
                *sorted(binaries),
                str(preflight.repository_root()),
                sys.prefix,
                sys.base_prefix,
                *([str(paths.cache_root())] if paths.cache_root().exists() else []),
            ),
            cgroup=self.config.cgroup,
            control_plane_only=self.config.control_plane_only,
            components=tuple(components),
        )
        _write(layout.plan, plan.to_json())

    def control_plane(self, inside: Layout) -> list[Component]:
        """The API server and what it needs. ``inside`` has the paths that the node sees."""
        environment = self.environment(inside)
        return [
            kubernetes.etcd(self.tool("etcd"), inside, environment),
            kubernetes.apiserver(self.tool("kube-apiserver"), inside, environment),
            kubernetes.controller_manager(self.tool("kube-controller-manager"), inside, environment),
            kubernetes.scheduler(self.tool("kube-scheduler"), inside, environment),
        ]

    def node(self, inside: Layout, snapshotter: str) -> list[Component]:
        """The container runtime, the node agents and the object store; writes their configuration."""
        layout = self.layout
        environment = self.environment(inside, self.tool("iptables"), str(Path(self.tool("runc")).parent))
        _write(
            layout.etc / "containerd.toml",
            containerd.configuration(
                inside,
                runc=self.tool("runc"),
                shim=self.tool("containerd-shim-runc-v2"),
                cni_plugins=self.tool("cni-plugins"),
                snapshotter=snapshotter,
            ),
        )
        _write(layout.cni / "10-triton-fleet.conflist", json.dumps(containerd.network_configuration(), indent=1))
        _write(layout.etc / "kubelet.json", json.dumps(kubernetes.kubelet_configuration(inside, cgroup=self.config.cgroup), indent=1))
        _write(layout.etc / "kube-proxy.json", json.dumps(kubernetes.kube_proxy_configuration(inside), indent=1))
        _write(layout.etc / "resolv.conf", "# No name servers: the node has no egress.\n")
        sidecar = not objectstore.has_extended_attributes(layout.objects)
        if sidecar:
            (layout.root / "objects-metadata").mkdir(exist_ok=True, mode=0o700)
        return [
            containerd.component(self.tool("containerd"), inside, environment),
            kubernetes.kubelet(self.tool("kubelet"), inside, environment),
            kubernetes.kube_proxy(self.tool("kube-proxy"), inside, environment),
            objectstore.component(
                self.tool("versitygw"),
                inside,
                self.environment(inside),
                keys=objectstore.ensure_keys(layout.object_store_keys),
                sidecar=sidecar,
            ),
        ]

    def tool(self, name: str) -> str:
        """Absolute path of a program. Raises PlatformError without a toolchain."""
        if self._toolchain is None:
            msg = f"The platform has no toolchain: {name} can't be started. Pass one to Platform()."
            raise PlatformError(msg)
        return str(Path(self._toolchain.path(name)).absolute())

    @staticmethod
    def environment(inside: Layout, *folders: str) -> dict[str, str]:
        """Environment of a component, with ``folders`` first on its PATH."""
        return {
            "PATH": ":".join([*folders, "/usr/sbin", "/usr/bin", "/sbin", "/bin"]),
            "HOME": str(inside.tmp),
            "TMPDIR": str(inside.tmp),
            "LANG": "C.UTF-8",
        }

    def _write_kubeconfig(self, path: Path, server: str, user: str) -> None:
        pki = self.layout.pki
        content = kubernetes.kubeconfig(
            server=server,
            authority=(pki / "ca.crt").read_bytes(),
            certificate=(pki / f"{user}.crt").read_bytes(),
            key=(pki / f"{user}.key").read_bytes(),
            user=user,
        )
        _write(path, json.dumps(content, indent=1))


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    temporary.replace(path)
