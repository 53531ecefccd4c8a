"""GKE's operations on clusters and node pools: one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.doubles.gcp.session import GoogleError, Session

if TYPE_CHECKING:
    from tests.doubles.gcp.api import Body

URL: Final = "https://container.googleapis.com/v1/"


def operation_body(session: Session, name: str) -> Body:
    """An operation of GKE's."""
    item = session.operations[name]
    parts = item["target"].split("/")
    body = {
        "name": name,
        "operationType": item["what"],
        "status": "DONE" if item["done"] else "RUNNING",
        "targetLink": URL + item["target"],
        "location": parts[3],
    }
    if item["error"]:
        body["error"] = item["error"]
    return body


def begin(session: Session, what: str, cluster: str, target: str, seconds: float, then: str, **more: Any) -> Body:  # noqa: PLR0917
    """Start something at a cluster, which must have nothing else under way that it could not stand."""
    for name in session.running(cluster):
        raise GoogleError(400, f"Cluster is running incompatible operation {name}.", "failedPrecondition")
    if target == cluster:
        for pool in session.below(cluster):
            for name in session.running(pool):
                raise GoogleError(400, f"Cluster is running incompatible operation {name}.", "failedPrecondition")
    return operation_body(session, session.begin(what, target, seconds, then=then, **more))
