"""Things of EKS whose status changes with time, and what all of EKS' operations share."""

from __future__ import annotations

import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.doubles.aws import ACCOUNT
from tests.doubles.aws.eks_rules import EksError, Region


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Thing:
    """Something with a status: ``during`` until ``due``, ``then`` afterwards."""

    said: dict[str, Any]
    """As Describe gives it, without its status."""
    during: str = "CREATING"
    due: float = 0.0
    then: str = "ACTIVE"
    issues: list[dict[str, Any]] = field(default_factory=list)
    interfaces: list[str] = field(default_factory=list)
    """Network interfaces in the VPC."""

    @property
    def status(self) -> str:
        return self.during if time.time() < self.due else self.then

    @property
    def gone(self) -> bool:
        return self.status == "DELETED"

    def change(self, during: str, due: float, then: str = "ACTIVE") -> None:
        self.during, self.due, self.then = during, due, then


@dataclass
class Cluster(Thing):
    """A cluster and what is in it."""

    groups: dict[str, Thing] = field(default_factory=dict)
    addons: dict[str, Thing] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    policies: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """Principal -> policy -> association."""
    identities: dict[str, dict[str, Any]] = field(default_factory=dict)
    updates: dict[str, tuple[dict[str, Any], Thing]] = field(default_factory=dict)


class Base:
    """EKS in one region, without its operations."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.clusters: dict[str, Cluster] = {}
        self.lock = threading.RLock()
        self.pace = 0.0
        self.fault: dict[str, Any] = {}

    def arn(self, rest: str) -> str:
        return f"arn:{self.region.partition}:eks:{self.region.name}:{ACCOUNT}:{rest}"

    def due(self, seconds: float) -> float:
        return time.time() + seconds * self.pace

    def start(self, thing: Thing, seconds: float) -> None:
        """Begin to make a thing, or to find out that it is broken where a fault wants that."""
        if self.fault:
            thing.issues.append({"code": self.fault.get("code", "InternalFailure"), "message": self.fault["message"]})
            thing.change("CREATING", self.due(self.fault["delay"] or seconds), "CREATE_FAILED")
        else:
            thing.change("CREATING", self.due(seconds))

    def cluster(self, name: str) -> Cluster:
        found = self.clusters.get(name)
        if found is None or found.gone:
            self.clusters.pop(name, None)
            raise EksError("ResourceNotFoundException", f"No cluster found for name: {name}.")
        return found

    def member(self, things: dict[str, Thing], key: str, what: str) -> Thing:
        found = things.get(key)
        if found is None or found.gone:
            things.pop(key, None)
            raise EksError("ResourceNotFoundException", f"No {what} found for name: {key}.")
        return found

    def active(self, name: str) -> Cluster:
        found = self.cluster(name)
        if found.status != "ACTIVE":
            raise EksError("InvalidRequestException", f"Cluster '{name}' is not in ACTIVE status")
        return found

    def updating(self, cluster: Cluster, thing: Thing, kind: str, seconds: float, key: str) -> dict[str, Any]:
        thing.change("UPDATING", self.due(seconds))
        update: dict[str, Any] = {"id": secrets.token_hex(8), "type": kind, "params": [], "errors": [], "createdAt": now(), "of": key}
        cluster.updates[update["id"]] = (update, thing)
        return {"update": {**{name: value for name, value in update.items() if name != "of"}, "status": "InProgress"}}
