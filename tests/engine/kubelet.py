"""What a node would do, played by the test; and the processes that an update consists of."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local.plugins.kubernetes.errors import ApiError
from local.plugins.kubernetes.naming import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.plugins.kubernetes.client import Client

POD: Final = Kind("", "v1", "Pod")
MERGE: Final = "application/merge-patch+json"


def set_status(kube: Client, pod: dict[str, Any], status: dict[str, Any]) -> None:
    """What a kubelet would report."""
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/status"
    with contextlib.suppress(ApiError):  # it may be gone by now
        kube.request("PATCH", path, body={"status": status}, content_type=MERGE)


def ready(_: dict[str, Any]) -> dict[str, Any]:
    return {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}, {"type": "ContainersReady", "status": "True"}]}


def image_missing(pod: dict[str, Any]) -> dict[str, Any]:
    image = pod["spec"]["containers"][0]["image"]
    return _waiting(pod, "Pending", {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{image}"'})


def crashing(pod: dict[str, Any]) -> dict[str, Any]:
    why = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
    return _waiting(pod, "Running", why, restartCount=4, lastState={"terminated": {"exitCode": 3, "reason": "Error"}})


def _waiting(pod: dict[str, Any], phase: str, why: dict[str, str], **more: Any) -> dict[str, Any]:
    container = pod["spec"]["containers"][0]
    status = {"name": container["name"], "image": container["image"], "imageID": "", "ready": False, "restartCount": 0}
    return {
        "phase": phase,
        "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
        "containerStatuses": [{**status, "state": {"waiting": why}, **more}],
    }


def give_endpoints(kube: Client, space: str, service: str) -> None:
    """What the cluster would say of a Service with a ready pod: pods without a node are not taken for endpoints."""
    kube.request(
        "POST",
        f"/apis/discovery.k8s.io/v1/namespaces/{space}/endpointslices",
        body={
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{service}-by-hand", "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}],
        },
    )


@contextlib.contextmanager
def kubelet(kube: Client, space: str, status: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[None]:
    """Give every new pod of a namespace a status."""
    stop = threading.Event()

    def play() -> None:
        seen: set[str] = set()
        while not stop.wait(0.2):
            for pod in kube.list(POD, space):
                if pod["metadata"]["uid"] not in seen:
                    set_status(kube, pod, status(pod))
                    seen.add(pod["metadata"]["uid"])

    thread = threading.Thread(target=play)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def pulumi_process() -> int:
    """The engine that this process started. Raises LookupError when there is none: number 0 would be a signal to the test itself."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rsplit(")", 1)
                if fields[0].endswith("(pulumi") and int(fields[1].split()[1]) == os.getpid():
                    return int(entry.name)
    raise LookupError("no engine runs")
