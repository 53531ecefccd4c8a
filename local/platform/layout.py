"""Files of an instance below its state folder. The same class serves both views: the machine's path, and the node's short, fixed one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

INSIDE: Final = Path("/var/lib/triton-fleet")
"""Where the node sees the state folder. Short and without spaces whatever the user's home is: unix sockets end at 108 characters."""


@dataclass(frozen=True)
class Layout:
    """Names of files; creates nothing."""

    root: Path

    @property
    def pki(self) -> Path:
        """Keys and certificates, 0700."""
        return self.root / "pki"

    @property
    def etc(self) -> Path:
        """Generated configuration of the components; rewritten at every start."""
        return self.root / "etc"

    @property
    def logs(self) -> Path:
        """One file a component."""
        return self.root / "logs"

    @property
    def pod_logs(self) -> Path:
        """Where the kubelet keeps container logs."""
        return self.logs / "pods"

    @property
    def run(self) -> Path:
        """Files that mean something only while the node runs."""
        return self.root / "run"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.root / "kubeconfig"

    @property
    def node_record(self) -> Path:
        """Which process the node is."""
        return self.run / "node.json"

    @property
    def status(self) -> Path:
        """What the supervisor last knew."""
        return self.run / "status.json"

    @property
    def plan(self) -> Path:
        """What the node is to run."""
        return self.run / "plan.json"

    @property
    def lock(self) -> Path:
        """Held by whoever starts or stops the instance."""
        return self.root / "platform.lock"

    @property
    def objects(self) -> Path:
        """Buckets of the object store."""
        return self.root / "objects"

    @property
    def object_store_keys(self) -> Path:
        """Access keys of the object store, 0600."""
        return self.root / "object-store.json"

    @property
    def etcd(self) -> Path:
        """Everything the API holds."""
        return self.root / "etcd"

    @property
    def containerd(self) -> Path:
        """Images and snapshots."""
        return self.root / "containerd"

    @property
    def kubelet(self) -> Path:
        """Pod volumes, device plugin sockets."""
        return self.root / "kubelet"

    @property
    def cni(self) -> Path:
        """Network configurations of pods."""
        return self.root / "etc" / "cni"

    @property
    def tmp(self) -> Path:
        """TMPDIR of the components."""
        return self.root / "tmp"

    def component_kubeconfig(self, name: str) -> Path:
        """Kubeconfig of a component inside the node."""
        return self.etc / f"{name}.kubeconfig"

    def log(self, component: str) -> Path:
        """Log file of a component."""
        return self.logs / f"{component}.log"

    def create(self) -> None:
        """Make every folder, private to the user."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root.chmod(0o700)
        for folder in (
            self.pki,
            self.etc,
            self.cni,
            self.logs,
            self.pod_logs,
            self.run,
            self.objects,
            self.etcd,
            self.containerd,
            self.kubelet,
            self.tmp,
        ):
            folder.mkdir(exist_ok=True, mode=0o700)
