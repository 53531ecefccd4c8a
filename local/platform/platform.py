"""The embedded platform as the rest of local/ sees it: start, stop, status, environment.

`Platform.start` brings the instance to running from any state: stopped, partly dead, just rebooted, or running. Concurrent starts and stops
of one instance wait for each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from local import paths
from local.platform import bootstrap, cgroups, identity, leftovers, objectstore, pki, preflight, sockets, status
from local.platform import config as settings
from local.platform.api import Api
from local.platform.components import Components, Tools
from local.platform.errors import OWN_CLUSTER_HINT, PlatformError
from local.platform.images import Importer, contents
from local.platform.layout import Layout
from local.platform.store import Stores, is_filled
from local.platform.wait import Wait, retry
from local.progress import SilentReporter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from local.platform.config import PlatformConfig
    from local.platform.preflight import Check
    from local.progress import Reporter

CONTROL_PLANE_TOOLS: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
NODE_TOOLS: Final = (
    *CONTROL_PLANE_TOOLS,
    "containerd",
    "containerd-shim-runc-v2",
    "ctr",
    "runc",
    "cni-plugins",
    "iptables",
    "kubelet",
    "kube-proxy",
    "versitygw",
)
_STOP_TIMEOUT_S: Final = 45.0


class Image(Protocol):
    """The part of ``local.images.ImageFile`` that the platform uses."""

    @property
    def name(self) -> str:
        """Full name with tag."""
        ...

    @property
    def path(self) -> Path:
        """OCI layout tar."""
        ...


class Platform:
    """One instance.

    Args:
        config: the instance.
        toolchain: finds the programs; only `start` needs it.
        images: images that every start loads; only `start` needs them.
        components: what the node runs; a substitute in tests.
    """

    def __init__(
        self,
        config: PlatformConfig,
        toolchain: Tools | None = None,
        images: Sequence[Image] = (),
        *,
        components: Callable[[PlatformConfig, Tools | None], Components] = Components,
    ) -> None:
        self.config = config
        self.layout = Layout(config.state)
        self._images = tuple(images)
        self._components = components(config, toolchain)
        self._is_first_start = False

    # ---- state

    def preflight(self) -> list[Check]:
        """Whether this machine can run the instance: one check for each requirement."""
        return preflight.check(self.config, running=self._node() is not None)

    def status(self) -> status.PlatformStatus:
        """Current status."""
        return status.read(self.config)

    def environment(self) -> dict[str, str]:
        """Variables with which kubectl, Helm, Pulumi and boto3 find the instance. Creates the object store's keys if there are none."""
        variables = {"KUBECONFIG": str(self.layout.kubeconfig)}
        if self.config.control_plane_only:
            return variables
        self.layout.create()
        keys = objectstore.ensure_keys(self.layout.object_store_keys)
        return variables | {
            "AWS_ENDPOINT_URL_S3": self.config.endpoints["object-store"],
            "AWS_ACCESS_KEY_ID": keys.access,
            "AWS_SECRET_ACCESS_KEY": keys.secret,
            "AWS_REGION": settings.REGION,
            "AWS_DEFAULT_REGION": settings.REGION,
        }

    def estimate_s(self) -> float:
        """Seconds that `start` is expected to take, measured on two cores."""
        if self.status().running:
            return 2.0
        if self.config.control_plane_only:
            return 10.0
        return 30.0 if is_filled(self.layout.containerd) or any(self._stores_folder.glob("*/images.json")) else 60.0

    # ---- start

    def start(self, report: Reporter | None = None) -> None:
        """Start the instance and wait until it is usable. Repairs what is partly dead; returns within seconds if all is well.

        Raises:
            PlatformError: this machine can't run it, a port is taken, or something does not become ready; with the remedy.
        """
        reporter = report or SilentReporter()
        if sys.platform != "linux" or os.geteuid() != 0:
            self._refuse(preflight.check(self.config))
        try:
            self._start(reporter)
        except OSError as error:
            msg = f"The platform can't write to {self.layout.root} ({error}): nothing starts. Free disk space, or check the owner."
            raise PlatformError(msg) from error

    def _start(self, reporter: Reporter) -> None:
        with self._exclusive() as lock:
            node = self._node()
            if node is not None:
                self._check_same(node)
                if self.status().phase == "hung":
                    reporter.note("The node's supervisor has stopped responding: restarting the node.")
                    self._end(node)
                    node = None
            if node is None:
                self._refuse(preflight.check(self.config))
                with reporter.step("start the node", 2):
                    node = self._launch(lock)
            elif not self.status().running:
                identity.send(node, signal.SIGHUP)
            wait = Wait(self.config, node)
            with reporter.step("wait for the control plane", 12):
                wait.until("the Kubernetes API", self._api_ready)
            with self._api() as api:
                retry(lambda: bootstrap.apply_administrators(api))
            if not self.config.control_plane_only:
                self._prepare_node(node, wait, reporter)
            wait.until("every component", lambda: self.status().running)

    def _prepare_node(self, node: identity.NodeRecord, wait: Wait, reporter: Reporter) -> None:
        since = identity.started_at(node)
        wait.until("containerd", lambda: self._component_ready("containerd"))
        self._load(node, [image.path for image in self._images], reporter)
        if self._is_first_start and self._images:
            self._stores().keep(self._importer(node).present(), self.layout.containerd)
        with_dns = settings.COREDNS_IMAGE in self._importer(node).present()
        with self._api() as api:
            if with_dns:
                retry(lambda: bootstrap.apply_dns(api))
            with reporter.step("wait for the node", 10):
                wait.until("the node", lambda: bootstrap.node_ready(api, since))
                wait.until("the object store", self._object_store_ready)
                keys = objectstore.ensure_keys(self.layout.object_store_keys)
                # A bucket is a folder of the store. Checking it with a client would take half a second to load one.
                if not (self.layout.objects / settings.BUCKET).is_dir():
                    objectstore.ensure_bucket(self.config.endpoints["object-store"], keys, settings.BUCKET)
            if with_dns:
                with reporter.step("wait for cluster DNS", 10):
                    wait.until("cluster DNS", lambda: bootstrap.dns_available(api, since))
            else:
                reporter.note(f"No cluster DNS: image {settings.COREDNS_IMAGE} is missing. Pods can't resolve names of Services.")
            for pressure in bootstrap.pressures(api):
                reporter.note(f"The node is under pressure ({pressure}): it starts no pods until that ends. Free disk space or memory.")
            with reporter.step("wait for the kubelet to check earlier pods", 5):
                wait.until("the kubelet's check of every pod", lambda: bootstrap.pods_are_current(api, since))

    def _check_same(self, node: identity.NodeRecord) -> None:
        if (node.port_offset, node.control_plane_only) != (self.config.port_offset, self.config.control_plane_only):
            msg = (
                f"Instance {self.config.instance!r} already runs with port offset {node.port_offset}"
                f"{' as a control plane only' if node.control_plane_only else ''}: it can't run with two configurations. "
                "Stop it first (make down), or choose another name for this one (TRITON_FLEET_INSTANCE)."
            )
            raise PlatformError(msg)

    def _refuse(self, checks: list[Check]) -> None:
        bad = preflight.failures(checks)
        if bad:
            lines = "\n".join(f"  {item}" for item in bad)
            raise PlatformError(f"This machine can't run the embedded platform:\n{lines}\n{OWN_CLUSTER_HINT}")

    def _launch(self, lock: int) -> identity.NodeRecord:
        left = leftovers.clear(self.config)
        if left:
            msg = (
                f"Instance {self.config.instance!r} can't start, because this is in its way: {'; '.join(left)}. "
                "If it belongs to an instance with another TRITON_FLEET_HOME, stop that one or set TRITON_FLEET_INSTANCE to another name; "
                "otherwise end these processes."
            )
            raise PlatformError(msg)
        self.layout.create()
        for stale in (self.layout.node_record, self.layout.status):
            stale.unlink(missing_ok=True)
        self._is_first_start = not self.config.control_plane_only and not is_filled(self.layout.containerd)
        if self._is_first_start:
            self._stores().adopt(self._wanted(), self.layout.containerd)
        pki.ensure(self.layout.pki)
        bound = sockets.bind_all(self.config.forwards)
        try:
            self._components.write(bound, self._snapshotter)
            hierarchies = cgroups.detect()
            try:
                cgroups.create(hierarchies, self.config.cgroup)
            except OSError as error:
                msg = f"Control group {self.config.cgroup} can't be created ({error}): pods can't be limited. {OWN_CLUSTER_HINT}"
                raise PlatformError(msg) from error
            done = subprocess.run(
                [sys.executable, "-m", "local.platform.node", str(self.layout.root), str(self.config.port_offset), str(lock)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                # Including the lock: if this process is killed now, the next start still waits until the node is recorded.
                pass_fds=[lock, *(listener.fileno() for _, listener in bound)],
                start_new_session=True,
                check=False,
                timeout=60,
                env=preflight.child_environment(),
                cwd="/",
            )
        finally:
            for _, listener in bound:
                listener.close()
        record = identity.NodeRecord.read(self.layout.node_record)
        if done.returncode != 0 or record is None:
            msg = f"The node could not be started: {done.stderr.strip()[-500:]}. {OWN_CLUSTER_HINT}"
            raise PlatformError(msg)
        return record

    # ---- images

    def load_images(self, files: Iterable[Path], report: Reporter | None = None) -> None:
        """Load image files (OCI layout tars) into the running node; skips images that it already has, by digest.

        Raises:
            PlatformError: the node does not run, a file is not an image, or containerd refuses it.
        """
        node = self._node()
        if node is None:
            msg = f"Images can't be loaded: the platform {self.config.instance!r} is not running. Start it first (make up)."
            raise PlatformError(msg)
        self._load(node, list(files), report or SilentReporter())

    @functools.cached_property
    def _snapshotter(self) -> str:
        if self.config.control_plane_only:
            return ""
        return "native" if preflight.probe(self.config.state).get("overlay", "not tried") else "overlayfs"

    @property
    def _stores_folder(self) -> Path:
        return paths.cache_root() / "containerd"

    def _stores(self) -> Stores:
        runtime = str(Path(self._components.tool("containerd")).resolve())
        return Stores(folder=self._stores_folder, runtime=runtime, snapshotter=self._snapshotter)

    def _wanted(self) -> dict[str, str]:
        return {name: digest for image in self._images for name, digest in contents(image.path).items()}

    def _importer(self, node: identity.NodeRecord) -> Importer:
        return Importer(node.pid, self._components.tool("ctr"))

    def _load(self, node: identity.NodeRecord, files: list[Path], reporter: Reporter) -> None:
        if not files:
            return
        importer = self._importer(node)
        for path in importer.missing(files):
            with reporter.step(f"load image {path.name}", 2 + path.stat().st_size / 50e6):
                importer.load(path.absolute())

    # ---- readiness

    def _component_ready(self, name: str) -> bool:
        return any(item["name"] == name and item["ready"] for item in status.supervisor_status(self.layout).get("components", []))

    def _api(self) -> Api:
        return Api(self.layout.pki, self.config.ports.apiserver)

    def _api_ready(self) -> bool:
        with self._api() as api:
            return api.ready()

    def _object_store_ready(self) -> bool:
        request = urllib.request.Request(f"{self.config.endpoints['object-store']}/health")  # noqa: S310 - http on loopback
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=3) as answer:
                return bool(answer.status == 200)  # noqa: PLR2004
        except (OSError, urllib.error.URLError):
            return False

    # ---- stop

    def stop(self, report: Reporter | None = None) -> None:
        """Stop the instance, by force if it does not stop gracefully, and check that nothing is left. Its state folder stays.

        Raises:
            PlatformError: something is left; the message names it.
        """
        reporter = report or SilentReporter()
        if not self.layout.root.exists():
            return
        with self._exclusive():
            node = self._node()
            if node is not None:
                with reporter.step("stop the platform", 10):
                    self._end(node)
            left = leftovers.clear(self.config)
            if left:
                raise PlatformError(f"The platform {self.config.instance!r} is stopped, but this is left: " + "; ".join(left))

    def _end(self, node: identity.NodeRecord) -> None:
        hung = self.status().phase == "hung"
        if not hung and identity.send(node, signal.SIGTERM) and identity.wait_gone(node, _STOP_TIMEOUT_S):
            return
        if identity.is_alive(node):
            # The kernel ends the whole PID namespace with its process 1.
            identity.send(node, signal.SIGKILL)
            identity.wait_gone(node, 10)

    # ---- parts

    def _node(self) -> identity.NodeRecord | None:
        """The running node, if any."""
        record = identity.NodeRecord.read(self.layout.node_record)
        return record if record is not None and identity.is_alive(record) else None

    @contextlib.contextmanager
    def _exclusive(self) -> Generator[int]:
        """Hold the instance's lock, so that only one process starts or stops it at a time. Yields the lock's descriptor."""
        self.layout.create()
        with self.layout.lock.open("w", encoding="ascii") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield stream.fileno()
