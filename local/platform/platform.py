"""The embedded platform as the rest of local/ sees it: start, stop, status, environment.

`Platform.start` may be called at any time and brings the instance from whatever state it is in (stopped, half dead, just rebooted, running)
to running. Two at once wait for each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from local import paths
from local.platform import bootstrap, cgroups, containerd, identity, kubernetes, objectstore, pki, preflight, sockets, status
from local.platform import config as settings
from local.platform.api import Api, ApiError
from local.platform.errors import OWN_CLUSTER_HINT, PlatformError
from local.platform.images import Importer, contents
from local.platform.layout import INSIDE, Layout
from local.platform.plan import Component, Plan
from local.platform.store import Stores, is_filled
from local.progress import SilentReporter

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator, Iterable, Sequence

    from local.platform.config import Forward, PlatformConfig
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
_READY_TIMEOUT_S: Final = 180.0
_STOP_TIMEOUT_S: Final = 45.0
_POLL_S: Final = 0.2


class Tools(Protocol):
    """What of ``local.toolchain.Toolchain`` the platform uses."""

    def path(self, name: str) -> Path:
        """Where the tool is."""
        ...


class Image(Protocol):
    """What of ``local.images.ImageFile`` the platform uses."""

    @property
    def name(self) -> str:
        """Full name with tag."""
        ...

    @property
    def path(self) -> Path:
        """OCI layout tar."""
        ...


class Platform:
    """One instance. ``toolchain`` and ``images`` are needed by `start` only."""

    def __init__(self, config: PlatformConfig, toolchain: Tools | None = None, images: Sequence[Image] = ()) -> None:
        self.config = config
        self.layout = Layout(config.state)
        self._toolchain = toolchain
        self._images = tuple(images)
        self._is_first_start = False

    # ---- what is asked

    def preflight(self) -> list[Check]:
        """Whether this machine can run the instance, a line a need."""
        return preflight.check(self.config, running=self._node() is not None)

    def status(self) -> status.PlatformStatus:
        """How it is now."""
        return status.read(self.config)

    def environment(self) -> dict[str, str]:
        """Variables with which kubectl, Helm, Pulumi and boto3 find the instance. Makes the object store's keys if there are none yet."""
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
        """Seconds that `start` is expected to take from here, on two cores."""
        if self.status().running:
            return 2.0
        if self.config.control_plane_only:
            return 10.0
        return 30.0 if is_filled(self.layout.containerd) or any(self._stores_folder.glob("*/images.json")) else 60.0

    # ---- start

    def start(self, report: Reporter | None = None) -> None:
        """Bring the instance up and wait until it can be used; heals what is partly dead; returns within seconds when all is well.

        Raises:
            PlatformError: this machine can't run it, a port is taken, or something does not come up; with the remedy.
        """
        reporter = report or SilentReporter()
        if sys.platform != "linux" or os.geteuid() != 0:
            self._refuse(preflight.check(self.config))
        try:
            self._start(reporter)
        except OSError as error:
            msg = (
                f"The platform can't write its files in {self.layout.root} ({error}): nothing starts. Free disk space, or check the owner."
            )
            raise PlatformError(msg) from error

    def _start(self, reporter: Reporter) -> None:
        with self._exclusive() as lock:
            node = self._node()
            if node is not None:
                self._check_same(node)
                if self.status().phase == "hung":
                    reporter.note("The node's supervisor says nothing any more: the node is started anew.")
                    self._end(node)
                    node = None
            if node is None:
                self._refuse(preflight.check(self.config))
                with reporter.step("start the node", 2):
                    node = self._launch(lock)
            elif not self.status().running:
                identity.send(node, signal.SIGHUP)
            with reporter.step("wait for the control plane", 12):
                self._wait(node, "the Kubernetes API", self._api_ready)
            with self._api() as api:
                _retry(lambda: bootstrap.apply_administrators(api))
            if not self.config.control_plane_only:
                self._prepare_node(node, reporter)
            self._wait(node, "every component", lambda: self.status().running)

    def _prepare_node(self, node: identity.NodeRecord, reporter: Reporter) -> None:
        since = identity.started_at(node)
        self._wait(node, "containerd", lambda: self._component_ready("containerd"))
        self._load(node, [image.path for image in self._images], reporter)
        if self._is_first_start and self._images:
            self._stores().keep(self._importer(node).present(), self.layout.containerd)
        with_dns = settings.COREDNS_IMAGE in self._importer(node).present()
        with self._api() as api:
            if with_dns:
                _retry(lambda: bootstrap.apply_dns(api))
            with reporter.step("wait for the node", 10):
                self._wait(node, "the node", lambda: _quiet(lambda: bootstrap.node_ready(api, since)))
                self._wait(node, "the object store", self._object_store_ready)
                keys = objectstore.ensure_keys(self.layout.object_store_keys)
                # A bucket is a folder of the store's; asking for it as a client would takes half a second to load one.
                if not (self.layout.objects / settings.BUCKET).is_dir():
                    objectstore.ensure_bucket(self.config.endpoints["object-store"], keys, settings.BUCKET)
            if with_dns:
                with reporter.step("wait for cluster DNS", 10):
                    self._wait(node, "cluster DNS", lambda: _quiet(lambda: bootstrap.dns_available(api, since)))
            else:
                reporter.note(f"No cluster DNS: image {settings.COREDNS_IMAGE} is not there. Names of Services do not resolve in pods.")
            for pressure in bootstrap.pressures(api):
                reporter.note(
                    f"The node is short of something ({pressure}): it starts no pods until that is over. Free disk space or memory."
                )
            with reporter.step("wait for the pods of the last run to be seen", 5):
                self._wait(node, "the kubelet's look at every pod", lambda: _quiet(lambda: bootstrap.pods_are_current(api, since)))

    def _check_same(self, node: identity.NodeRecord) -> None:
        if (node.port_offset, node.control_plane_only) != (self.config.port_offset, self.config.control_plane_only):
            msg = (
                f"Instance {self.config.instance!r} already runs with port offset {node.port_offset}"
                f"{' as a control plane only' if node.control_plane_only else ''}: it can't have two shapes at once. "
                "Stop it first (make down), or give this one another name (TRITON_FLEET_INSTANCE)."
            )
            raise PlatformError(msg)

    def _refuse(self, checks: list[Check]) -> None:
        bad = preflight.failures(checks)
        if bad:
            lines = "\n".join(f"  {item}" for item in bad)
            raise PlatformError(f"This machine can't run the embedded platform as it is:\n{lines}\n{OWN_CLUSTER_HINT}")

    def _launch(self, lock: int) -> identity.NodeRecord:
        left = self._clear_leftovers()
        if left:
            msg = (
                f"Instance {self.config.instance!r} can't start, something is in its place: {'; '.join(left)}. "
                "If it belongs to an instance with another TRITON_FLEET_HOME, stop that one or set TRITON_FLEET_INSTANCE to another name; "
                "else end these processes."
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
            self._write_configuration(bound)
            hierarchies = cgroups.detect()
            try:
                cgroups.create(hierarchies, self.config.cgroup)
            except OSError as error:
                msg = f"Control group {self.config.cgroup} can't be made ({error}): pods can't be limited. {OWN_CLUSTER_HINT}"
                raise PlatformError(msg) from error
            done = subprocess.run(
                [sys.executable, "-m", "local.platform.node", str(self.layout.root), str(self.config.port_offset), str(lock)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                # With the lock: should this process be killed now, the next start still waits until the node is recorded.
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

    def _write_configuration(self, bound: Sequence[tuple[Forward, socket.socket]]) -> None:
        """Everything that the components read; for the node's eyes, so with its paths."""
        layout, inside = self.layout, Layout(INSIDE)
        authority = (layout.pki / "ca.crt").read_bytes()

        def kubeconfig(path: Path, server: str, user: str) -> None:
            content = kubernetes.kubeconfig(
                server=server,
                authority=authority,
                certificate=(layout.pki / f"{user}.crt").read_bytes(),
                key=(layout.pki / f"{user}.key").read_bytes(),
                user=user,
            )
            _write(path, json.dumps(content, indent=1))

        kubeconfig(layout.kubeconfig, self.config.endpoints["apiserver"], "admin")
        for user in ("controller-manager", "scheduler", "kubelet", "kube-proxy"):
            kubeconfig(layout.component_kubeconfig(user), kubernetes.APISERVER_URL, user)
        components = self._control_plane(inside)
        if not self.config.control_plane_only:
            components += self._node_components(inside)
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

    def _tool(self, name: str) -> str:
        if self._toolchain is None:
            msg = f"The platform has no toolchain, so {name} can't be started: pass one to Platform()."
            raise PlatformError(msg)
        return str(Path(self._toolchain.path(name)).absolute())

    def _component_environment(self, inside: Layout, *folders: str) -> dict[str, str]:
        return {
            "PATH": ":".join([*folders, "/usr/sbin", "/usr/bin", "/sbin", "/bin"]),
            "HOME": str(inside.tmp),
            "TMPDIR": str(inside.tmp),
            "LANG": "C.UTF-8",
        }

    def _control_plane(self, inside: Layout) -> list[Component]:
        environment = self._component_environment(inside)
        return [
            kubernetes.etcd(self._tool("etcd"), inside, environment),
            kubernetes.apiserver(self._tool("kube-apiserver"), inside, environment),
            kubernetes.controller_manager(self._tool("kube-controller-manager"), inside, environment),
            kubernetes.scheduler(self._tool("kube-scheduler"), inside, environment),
        ]

    def _node_components(self, inside: Layout) -> list[Component]:
        layout = self.layout
        environment = self._component_environment(inside, self._tool("iptables"), str(Path(self._tool("runc")).parent))
        _write(
            layout.etc / "containerd.toml",
            containerd.configuration(
                inside,
                runc=self._tool("runc"),
                shim=self._tool("containerd-shim-runc-v2"),
                cni_plugins=self._tool("cni-plugins"),
                snapshotter=self._snapshotter,
            ),
        )
        _write(layout.cni / "10-triton-fleet.conflist", json.dumps(containerd.network_configuration(), indent=1))
        _write(layout.etc / "kubelet.json", json.dumps(kubernetes.kubelet_configuration(inside, cgroup=self.config.cgroup), indent=1))
        _write(layout.etc / "kube-proxy.json", json.dumps(kubernetes.kube_proxy_configuration(inside), indent=1))
        _write(layout.etc / "resolv.conf", "# Nothing outside the node can be asked.\n")
        sidecar = not objectstore.has_extended_attributes(layout.objects)
        if sidecar:
            (layout.root / "objects-metadata").mkdir(exist_ok=True, mode=0o700)
        return [
            containerd.component(self._tool("containerd"), inside, environment),
            kubernetes.kubelet(self._tool("kubelet"), inside, environment),
            kubernetes.kube_proxy(self._tool("kube-proxy"), inside, environment),
            objectstore.component(
                self._tool("versitygw"),
                inside,
                self._component_environment(inside),
                keys=objectstore.ensure_keys(layout.object_store_keys),
                sidecar=sidecar,
            ),
        ]

    # ---- images

    def load_images(self, files: Iterable[Path], report: Reporter | None = None) -> None:
        """Bring image files (OCI layout tars) into the running node; those that it has already, by digest, are left out.

        Raises:
            PlatformError: the node does not run, a file is no image, or containerd refuses it.
        """
        node = self._node()
        if node is None:
            msg = f"Images can't be loaded: the platform {self.config.instance!r} does not run. Start it first (make up)."
            raise PlatformError(msg)
        self._load(node, list(files), report or SilentReporter())

    @functools.cached_property
    def _snapshotter(self) -> str:
        return "native" if preflight.probe(self.config.state).get("overlay", "not tried") else "overlayfs"

    @property
    def _stores_folder(self) -> Path:
        return paths.cache_root() / "containerd"

    def _stores(self) -> Stores:
        runtime = str(Path(self._tool("containerd")).resolve())
        return Stores(folder=self._stores_folder, runtime=runtime, snapshotter=self._snapshotter)

    def _wanted(self) -> dict[str, str]:
        return {name: digest for image in self._images for name, digest in contents(image.path).items()}

    def _importer(self, node: identity.NodeRecord) -> Importer:
        return Importer(node.pid, self._tool("ctr"))

    def _load(self, node: identity.NodeRecord, files: list[Path], reporter: Reporter) -> None:
        if not files:
            return
        importer = self._importer(node)
        for path in importer.missing(files):
            with reporter.step(f"load image {path.name}", 2 + path.stat().st_size / 50e6):
                importer.load(path.absolute())

    # ---- waiting

    def _wait(self, node: identity.NodeRecord, what: str, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not ready():
            if not identity.is_alive(node):
                log = self.layout.log("node")
                msg = f"The node ended while {what} was awaited. Its last words, from {log}:\n{_tail(log)}"
                raise PlatformError(msg)
            if time.monotonic() > deadline:
                raise PlatformError(self._explain(what))
            time.sleep(_POLL_S)

    def _explain(self, what: str) -> str:
        lines = [f"{what[0].upper()}{what[1:]} was not ready after {_READY_TIMEOUT_S:.0f} s."]
        bad = [item for item in self.status().components if not item.ready]
        lines += [f"{item.name} {item.last_end or 'does not answer'}; from {item.log}:\n{_tail(item.log)}" for item in bad[:2]]
        lines.append("`make status` shows every component; `make down` and `make up` start afresh and keep all data.")
        return "\n".join(lines)

    def _component_ready(self, name: str) -> bool:
        return any(item["name"] == name and item["ready"] for item in status.supervisor_words(self.layout).get("components", []))

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
        """End the instance, gracefully and then by force, and make sure that nothing of it is left. Its state folder stays.

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
            left = self._clear_leftovers()
            if left:
                raise PlatformError(f"The platform {self.config.instance!r} was stopped, but this is left: " + "; ".join(left))

    def _end(self, node: identity.NodeRecord) -> None:
        hung = self.status().phase == "hung"
        if not hung and identity.send(node, signal.SIGTERM) and identity.wait_gone(node, _STOP_TIMEOUT_S):
            return
        if identity.is_alive(node):
            # The whole PID namespace goes with its process 1.
            identity.send(node, signal.SIGKILL)
            identity.wait_gone(node, 10)

    def _clear_leftovers(self) -> list[str]:
        """Remove what a dead node may have left; returns what could not be removed. Must not be called while it lives."""
        node = identity.NodeRecord.read(self.layout.node_record)
        left: list[str] = []
        if node is not None and node.boot_id == identity.boot_id():
            left += _wait_empty(node)
        hierarchies = cgroups.detect()
        strangers = cgroups.processes(hierarchies, self.config.cgroup)
        if strangers:
            # A live instance of the same name with another state folder. Its groups may be empty for a moment: touch none.
            return [*left, f"control group {self.config.cgroup}, in which processes run that are not this instance's: {sorted(strangers)}"]
        left += [f"control group {folder}" for folder in cgroups.remove(hierarchies, self.config.cgroup)]
        mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
        left += [f"mount {path}" for path in mounted if Path(path).is_relative_to(self.layout.root)]
        if not left:
            for file in (self.layout.node_record, self.layout.status, self.layout.plan):
                file.unlink(missing_ok=True)
        return left

    # ---- helpers

    def _node(self) -> identity.NodeRecord | None:
        """The running node, if there is one."""
        record = identity.NodeRecord.read(self.layout.node_record)
        return record if record is not None and identity.is_alive(record) else None

    @contextlib.contextmanager
    def _exclusive(self) -> Generator[int]:
        """Only one process starts or stops an instance at a time; the others wait. Gives the lock's descriptor."""
        self.layout.create()
        with self.layout.lock.open("w", encoding="ascii") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield stream.fileno()


def _wait_empty(node: identity.NodeRecord, timeout_s: float = 10.0) -> list[str]:
    deadline = time.monotonic() + timeout_s
    while inhabitants := identity.inhabitants(node):
        if time.monotonic() > deadline:
            return [f"process {pid} in the node's namespace" for pid in inhabitants.values()]
        time.sleep(0.1)
    return []


def _quiet(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except ApiError:
        return False


def _retry(action: Callable[[], None], timeout_s: float = 30.0) -> None:
    """Do ``action``; an API that just came up may refuse for some seconds (its own roles and namespaces are still being made)."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            action()
        except ApiError as error:
            if time.monotonic() > deadline:
                raise PlatformError(f"The Kubernetes API refuses what every start applies: {error}") from error
            time.sleep(0.5)
        else:
            return


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    temporary.replace(path)


def _tail(path: Path, lines: int = 12) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 8192))
            text = stream.read().decode("utf-8", "replace")
    except OSError:
        return "(no log)"
    return "\n".join(f"    {line[:400]}" for line in text.splitlines()[-lines:])
