"""The part of Google that works inside a cluster: load balancers for Services, as one thread that looks whenever one has changed.

GKE opens a firewall in the cluster's network for each Service of type LoadBalancer, and takes it away when the Service goes. It does so
only while the cluster is there: what is left by then stays for ever and keeps the network from being deleted, which is the commonest way in
which the destroy of a GKE stack fails. The Service waits for it by a finalizer.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

from local.plugins.kubernetes.errors import ApiError, NoSuchKind, Unreachable
from local.plugins.kubernetes.naming import Kind
from tests.doubles.cluster.changes import Changes

if TYPE_CHECKING:
    from local.plugins.kubernetes.client import Client
    from tests.doubles.gcp.memory import Google

SERVICE: Final = Kind("", "v1", "Service")
FINALIZER: Final = "service.kubernetes.io/load-balancer-cleanup"
_MERGE: Final = "application/merge-patch+json"
_POLL_S: Final = 0.3


class LoadBalancers(threading.Thread):
    """The thread. Whatever the API refuses is tried again in the next round."""

    def __init__(self, api: Client, google: Google) -> None:
        super().__init__(name="google-in-cluster", daemon=True)
        self._api = api
        self._google = google
        self._changes = Changes(api, [(SERVICE, "")])
        self._end = threading.Event()
        self.errors: list[str] = []
        """What went wrong lately, for messages of tests."""

    def run(self) -> None:
        """Look until told to stop."""
        self._changes.start()
        while not self._end.wait(_POLL_S):
            if not self._changes.take():
                continue
            try:
                self.look()
            except (ApiError, NoSuchKind, Unreachable, OSError, KeyError) as error:
                self.errors = [*self.errors[-20:], f"{type(error).__name__}: {error}"]
                self._changes.again()

    def stop(self) -> None:
        """End the thread."""
        self._changes.stop()
        self._end.set()
        self.join(timeout=10)

    def look(self) -> None:
        """Open what Services need, and close what goes with them."""
        for service in self._api.list(SERVICE):
            if (service.get("spec") or {}).get("type") != "LoadBalancer":
                continue
            metadata = service["metadata"]
            finalizers = list(metadata.get("finalizers") or [])
            going = "deletionTimestamp" in metadata
            if going != (FINALIZER in finalizers):
                continue
            path = self._api.resource(SERVICE).path(metadata["namespace"], metadata["name"])
            finalizers = [item for item in finalizers if item != FINALIZER] + ([] if going else [FINALIZER])
            body: dict[str, Any] = {"metadata": {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}}
            with self._google.session() as session:
                found = [(key, thing) for key, thing in session.things.items() if key.split("/")[-2:-1] == ["clusters"]]
                if not found or found[0][1]["status"] not in ("RUNNING", "RECONCILING"):
                    self._changes.again()  # the cluster may come, and no Service changes then
                    continue
                key, cluster = found[0]
                name = f"k8s-fw-{metadata['uid'].replace('-', '')[:24]}"
                full = f"projects/{key.split('/')[1]}/global/firewalls/{name}"
                if going:
                    session.things.pop(full, None)
                # As GKE: the finalizer first. A firewall of a Service that is deleted before it has one would stay for ever.
                self._api.request("PATCH", path, body=body, content_type=_MERGE)
                if not going:
                    session.things[full] = {
                        "name": name,
                        "network": cluster["networkConfig"]["network"],
                        "allowed": [{"IPProtocol": "tcp"}],
                    }
