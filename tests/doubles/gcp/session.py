"""One call to Google: its look at the state, what it may refuse, and the handlers that answer it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tests.doubles.gcp.api import Body, find

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.doubles.clock import Clock

PROJECT_NUMBER: Final = "123456789012"
"""Number of every project here."""


class GoogleError(Exception):
    """Google refused a call. Reads as the Go client, which the real provider uses, has it."""

    def __init__(self, code: int, message: str, reason: str) -> None:
        super().__init__(f"googleapi: Error {code}: {message}, {reason}")
        self.code = code
        self.reason = reason
        self.message = message


def not_found(name: str) -> GoogleError:
    """What Google says of something that is not there."""
    return GoogleError(404, f"The resource '{name}' was not found", "notFound")


def invalid(message: str) -> GoogleError:
    """What Google says of a request that makes no sense."""
    return GoogleError(400, message, "badRequest")


@dataclass
class Session:
    """One call's look at the state; what it changes is kept when the call ends well."""

    state: Body
    clock: Clock
    now: float
    effects: list[Callable[[], None]] = field(default_factory=list)

    @property
    def things(self) -> dict[str, Body]:
        """All resources by their relative names (``projects/p/global/networks/n``)."""
        found: dict[str, Body] = self.state["things"]
        return found

    @property
    def operations(self) -> dict[str, Body]:
        """All operations by their names."""
        found: dict[str, Body] = self.state["operations"]
        return found

    def get(self, name: str) -> Body:
        """A resource. Raises GoogleError."""
        if name not in self.things:
            raise not_found(name)
        return self.things[name]

    def add(self, name: str, body: Body) -> Body:
        """Keep a new resource. Raises GoogleError where one has the name already."""
        if name in self.things:
            raise GoogleError(409, f"The resource '{name}' already exists", "alreadyExists")
        self.things[name] = body
        return body

    def below(self, name: str) -> list[str]:
        """Names of resources whose names begin with this one's."""
        return [other for other in self.things if other.startswith(f"{name}/")]

    def number(self) -> int:
        """A number that nothing else has."""
        self.state["number"] = self.state.get("number", 1000) + 1
        return int(self.state["number"])

    def stamp(self) -> str:
        """The time, as Google writes it."""
        return datetime.fromtimestamp(self.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def enabled(self, project: str, service: str) -> bool:
        """Whether a project's API is switched on. All are where a test did not say otherwise."""
        services = self.state["services"].get(project)
        return services is None or f"{service}.googleapis.com" in services

    def begin(self, what: str, target: str, seconds: float, *, then: str = "", **more: Any) -> str:
        """Start something that takes ``seconds`` at Google.

        Args:
            what: Kind of operation, for messages.
            target: Name of the resource.
            then: Name of the function in `FINISHED` that is called when it is done.
            more: What that function wants to know.

        Returns:
            The operation's name.
        """
        name = f"operation-{self.number()}"
        doom = self.state["doomed"].pop(target, None)
        if doom:
            seconds = doom["seconds"] or seconds
            more["failing"] = doom["message"]
        self.operations[name] = {
            "what": what,
            "target": target,
            "begun": self.now,
            "due": self.now + self.clock.scaled(seconds),
            "done": False,
            "error": None,
            "then": then,
            **more,
        }
        return name

    def settle(self) -> None:
        """Finish what is due."""
        for operation in list(self.operations.values()):  # what is done may begin something
            if not operation["done"] and operation["due"] <= self.now:
                operation["done"] = True
                if operation["then"]:
                    FINISHED[operation["then"]](self, operation)

    def running(self, target: str) -> list[str]:
        """Operations that are under way at a resource."""
        return [name for name, item in self.operations.items() if item["target"] == target and not item["done"]]


HANDLERS: Final[dict[str, Callable[[Session, Mapping[str, str], Body], Body]]] = {}
FINISHED: Final[dict[str, Callable[[Session, Body], None]]] = {}


def handles(method: str) -> Callable[[Any], Any]:
    """Register a handler for a method of Google's."""

    def register(function: Any) -> Any:
        find(method)  # a method that Google has not is a mistake of ours
        HANDLERS[method] = function
        return function

    return register


def finishes(function: Callable[[Session, Body], None]) -> Callable[[Session, Body], None]:
    """Register what happens when an operation is done."""
    FINISHED[function.__name__] = function
    return function


def project_of(parameters: Mapping[str, str]) -> str:
    """The project that a call is about; empty where it names none."""
    if "project" in parameters:
        return parameters["project"]
    for value in parameters.values():
        parts = str(value).split("/")
        if parts[0] == "projects" and len(parts) > 1:
            return parts[1]
    return ""


def fingerprint(body: Body) -> str:
    """A hash of a resource's content, as Google has it against changes at once."""
    kept = {key: value for key, value in body.items() if key not in ("fingerprint", "etag")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:11] + "="
