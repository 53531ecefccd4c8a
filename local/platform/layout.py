"""Files in an instance's state folder, as the machine sees it or as the node sees it, at a short, fixed path."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

INSIDE: Final = Path("/var/lib/triton-fleet")
"""The state folder's path in the node: short and without spaces, because paths of unix sockets are limited to 108 characters."""


@dataclass(frozen=True)
class Layout:
    """Paths of files and folders."""

    root: Path

    @property
    def pki(self) -> Path:
        """Keys and certificates, 0700."""
        return self.root / "pki"

    @property
    def etc(self) -> Path:
        """Configuration of the components, generated at every start."""
        return self.root / "etc"

    @property
    def logs(self) -> Path:
        """One log file for each component."""
        return self.root / "logs"

    @property
    def pod_logs(self) -> Path:
        """Container logs, written by the kubelet."""
        return self.logs / "pods"

    @property
    def run(self) -> Path:
        """Files that are valid only while the node runs."""
        return self.root / "run"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.root / "kubeconfig"

    @property
    def node_record(self) -> Path:
        """Identifies the node's process."""
        return self.run / "node.json"

    @property
    def status(self) -> Path:
        """The supervisor's last status."""
        return self.run / "status.json"

    @property
    def plan(self) -> Path:
        """The components to run."""
        return self.run / "plan.json"

    @property
    def lock(self) -> Path:
        """Locked while a process starts or stops the instance."""
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
        """Data of the Kubernetes API."""
        return self.root / "etcd"

    @property
    def containerd(self) -> Path:
        """Images and snapshots."""
        return self.root / "containerd"

    @property
    def kubelet(self) -> Path:
        """Pod volumes and device plugin sockets."""
        return self.root / "kubelet"

    @property
    def cni(self) -> Path:
        """Network configuration of pods."""
        return self.root / "etc" / "cni"

    @property
    def tmp(self) -> Path:
        """TMPDIR of the components."""
        return self.root / "tmp"

    def component_kubeconfig(self, name: str) -> Path:
        """Kubeconfig of a component in the node."""
        return self.etc / f"{name}.kubeconfig"

    def log(self, component: str) -> Path:
        """Log file of a component."""
        return self.logs / f"{component}.log"

    def create(self) -> None:
        """Create all folders, accessible only to the user."""
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
