"""The part of the cloud that shows inside a cluster, as one thread that looks whenever something has changed.

Nodes come and go with the files of the node groups that are active. When a group goes, its pods go first, as EKS drains it. GPUs appear on
a node when a pod of the device plugin runs there. A Service of type LoadBalancer gets a host name; one that asks for AWS Load Balancer
Controller gets it, and loses that controller's finalizer, only while the controller runs: without it, it waits for ever, as in AWS.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from components.base import naming
from components.gpu import catalogue
from local.plugins.kubernetes.errors import ApiError, NoSuchKind, Unreachable
from local.plugins.kubernetes.naming import Kind
from tests.doubles.cluster.changes import Changes
from tests.doubles.cluster.nodes import GPUS_ANNOTATION, GROUP_LABEL, Group, node_objects, wants_plugin
from tests.doubles.nodes import current

if TYPE_CHECKING:
    from pathlib import Path

    from local.plugins.kubernetes.client import Client

NODE: Final = Kind("", "v1", "Node")
POD: Final = Kind("", "v1", "Pod")
SERVICE: Final = Kind("", "v1", "Service")
DEPLOYMENT: Final = Kind("apps", "v1", "Deployment")
FINALIZER: Final = "service.k8s.aws/resources"
"""What AWS Load Balancer Controller puts on a Service that it has made a load balancer for."""
_TYPE: Final = "service.beta.kubernetes.io/aws-load-balancer-type"
_MANAGER: Final = "cloud"
_POLL_S: Final = 0.2
_MERGE: Final = "application/merge-patch+json"


class Loops(threading.Thread):
    """The thread. Whatever the API refuses is tried again in the next round."""

    def __init__(self, api: Client, folder: Path) -> None:
        super().__init__(name="cloud-in-cluster", daemon=True)
        self._api = api
        self._folder = folder
        self._end = threading.Event()
        self._made: set[str] = set()
        self._changes = Changes(api, [(NODE, ""), (POD, naming.GPU_PLUGIN_NAMESPACE), (SERVICE, ""), (DEPLOYMENT, naming.SYSTEM_NAMESPACE)])
        self.errors: list[str] = []
        """What went wrong lately, for messages of tests."""

    def run(self) -> None:
        """Look until told to stop."""
        self._changes.start()
        while not self._end.wait(_POLL_S):
            for look in (self.nodes, self.gpus, self.load_balancers) if self._changes.take() else (self.nodes,):
                try:
                    look()
                except (ApiError, NoSuchKind, Unreachable, OSError, ValueError, KeyError) as error:
                    self.errors = [*self.errors[-20:], f"{look.__name__}: {type(error).__name__}: {error}"]
                    self._changes.again()

    def stop(self) -> None:
        """End the thread."""
        self._changes.stop()
        self._end.set()
        self.join(timeout=10)

    # ---- nodes

    def nodes(self) -> None:
        """Make the nodes of active groups, take those of the others."""
        wanted: dict[str, dict[str, Any]] = {}
        for content in current(self._folder).values():
            wanted.update({node["metadata"]["name"]: node for node in node_objects(Group.parse(content))})
        if set(wanted) == self._made:
            return
        there = {node["metadata"]["name"] for node in self._api.list(NODE, labels=GROUP_LABEL)}
        for name in wanted.keys() - there:
            self._api.create(NODE, wanted[name], manager=_MANAGER)
        for name in there - wanted.keys():
            self._drain(name)
            self._take(NODE, "", name)
        self._made = set(wanted)

    def _drain(self, node: str) -> None:
        self._api.request("PATCH", self._api.resource(NODE).path("", node), body={"spec": {"unschedulable": True}}, content_type=_MERGE)
        for pod in self._api.list(POD, fields=f"spec.nodeName={node}"):
            self._take(POD, pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _take(self, kind: Kind, namespace: str, name: str) -> None:
        try:
            self._api.delete(kind, namespace, name, propagation="Background")
        except ApiError as error:
            if not error.not_found:
                raise

    def gpus(self) -> None:
        """Tell of the GPUs of nodes on which the device plugin runs."""
        bare = [node for node in self._api.list(NODE) if wants_plugin(node)]
        if not bare:
            return
        running = {
            pod["spec"].get("nodeName")
            for pod in self._api.list(POD, naming.GPU_PLUGIN_NAMESPACE)
            if (pod.get("status") or {}).get("phase") == "Running"
        }
        for node in bare:
            name = node["metadata"]["name"]
            if name in running:
                found = {catalogue.RESOURCE: node["metadata"]["annotations"][GPUS_ANNOTATION]}
                body = {"status": {"capacity": found, "allocatable": found}}
                self._api.request("PATCH", f"{self._api.resource(NODE).path('', name)}/status", body=body, content_type=_MERGE)

    # ---- load balancers

    def load_balancers(self) -> None:
        """Give Services their load balancers, and take those of Services that go."""
        running: bool | None = None
        for service in self._api.list(SERVICE):
            metadata = service["metadata"]
            if (service.get("spec") or {}).get("type") != "LoadBalancer":
                continue
            ours = (metadata.get("annotations") or {}).get(_TYPE) == "external"
            has = FINALIZER in (metadata.get("finalizers") or [])
            if ours:
                running = self._controller_runs() if running is None else running
                if not running:
                    continue
            path = self._api.resource(SERVICE).path(metadata["namespace"], metadata["name"])
            if "deletionTimestamp" in metadata:
                if has:
                    kept = [item for item in metadata["finalizers"] if item != FINALIZER]
                    self._api.request("PATCH", path, body={"metadata": {"finalizers": kept}}, content_type=_MERGE)
                continue
            if ours and not has:
                finalizers = [*(metadata.get("finalizers") or []), FINALIZER]
                self._api.request("PATCH", path, body={"metadata": {"finalizers": finalizers}}, content_type=_MERGE)
            if not ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
                host = f"k8s-{metadata['namespace'][:8]}-{metadata['name'][:8]}-{metadata['uid'][:10]}.elb.us-east-1.amazonaws.com"
                body = {"status": {"loadBalancer": {"ingress": [{"hostname": host}]}}}
                self._api.request("PATCH", f"{path}/status", body=body, content_type=_MERGE)

    def _controller_runs(self) -> bool:
        try:
            controller = self._api.get(DEPLOYMENT, naming.SYSTEM_NAMESPACE, naming.LOAD_BALANCER_RELEASE)
        except ApiError as error:
            if error.not_found:
                return False
            raise
        return bool((controller.get("status") or {}).get("availableReplicas"))
