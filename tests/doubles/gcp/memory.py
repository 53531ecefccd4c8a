"""Google in memory: what every API here has in common. Names, operations that take their time, policies, and one file that keeps it all.

The file lies in the folder that all doubles of a run share, so that it outlives the plugin's process; every call takes its lock. Handlers
are in `compute`, `container`, `pools` and `accounts`; each is registered for one method of Google's and sees only calls that keep to its
description. What they answer is held against the description as well.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tests.doubles.gcp.api import Body, check_call, find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from tests.doubles.clock import Clock

_STATE: Final = "gcp.json"
_LOCK: Final = "gcp.lock"
_REQUESTS: Final = "gcp-requests.jsonl"

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


Handler = "Callable[[Session, Mapping[str, str], Body], Body]"
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


class Google:
    """All of Google that a run needs."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        from tests.doubles.gcp import accounts, compute, container, pools  # noqa: F401, PLC0415  # they register themselves, and import this

        self.folder = folder
        self.clock = clock

    def call(self, method: str, parameters: Mapping[str, str], body: Body | None = None) -> Body:
        """Call one method.

        Raises:
            GoogleError: Google would refuse; a call that does not keep to Google's description is refused with all that is wrong.
            LookupError: The method is none of Google's, or this double has not learnt it.
        """
        api, described = find(method)
        if method not in HANDLERS:
            raise LookupError(f"the double of Google has not learnt {method}")
        problems = check_call(api, described, parameters, body)
        if problems:
            self._log(method, parameters, body, "; ".join(problems))
            raise GoogleError(400, f"Invalid JSON payload received. {'; '.join(problems)}", "badRequest")
        try:
            with self.session() as session:
                _refuse_disabled(session, method, parameters)
                answer = copy.deepcopy(HANDLERS[method](session, parameters, copy.deepcopy(body or {})))
        except GoogleError as error:
            self._log(method, parameters, body, str(error))
            raise
        self._log(method, parameters, body, None)
        if described.answer is not None:
            wrong = api.check(described.answer, answer, direction="answer")
            if wrong:
                raise LookupError(f"the double of Google answers {method} as Google never would: {'; '.join(wrong)}")
        return answer

    def wait(self, operation: str) -> Body | None:
        """Wait until an operation is done; its error, where it failed. Raises Cancelled."""
        while True:
            with self.session() as session:
                item = session.operations[operation]
                if item["done"]:
                    error: Body | None = item["error"]
                    return error
                due = item["due"]
            self.clock.wait_until(due)

    def doom(self, target: str, message: str, seconds: float = 0.0) -> None:
        """Let the next operation at ``target`` (a name) end badly, after ``seconds`` of Google's; 0: after its usual time."""
        with self.session() as session:
            session.state["doomed"][target] = {"message": message, "seconds": seconds}

    def restock(self) -> None:
        """Let there be machines, quota and addresses for pools that had none: GKE has gone on asking for them."""
        from tests.doubles.gcp.pools import pool_is_up  # noqa: PLC0415  # it imports this module

        with self.session() as session:
            for name, body in session.things.items():
                if "/nodePools/" in name and body["status"] == "ERROR":
                    pool_is_up(session, name)

    def requests(self) -> list[Body]:
        """Every call so far: method, parameters, body and what Google said against it."""
        path = self.folder / _REQUESTS
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def left(self) -> list[str]:
        """All that is there, by name, and who has which role where: what a destroy left behind."""
        with self.session() as session:
            bindings = [
                f"{member} has {item['role']} on {name}"
                for name, policy in session.state["policies"].items()
                for item in policy["bindings"]
                for member in item["members"]
            ]
            return sorted([*session.things, *bindings])

    def limit(self, **quotas: float) -> None:
        """Set quotas of the project, such as ``GPUS_ALL_REGIONS=0``; all others are without end."""
        with self.session() as session:
            session.state["quotas"] = quotas

    def only_services(self, project: str, *services: str) -> None:
        """Let these APIs alone be switched on in a project, as in a new one."""
        with self.session() as session:
            session.state["services"][project] = [f"{service}.googleapis.com" for service in services]

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """The state, under its lock; written back when nothing was raised."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            path = self.folder / _STATE
            text = path.read_text(encoding="utf-8") if path.exists() else ""
            state = (
                json.loads(text) if text else {"things": {}, "operations": {}, "policies": {}, "services": {}, "quotas": {}, "doomed": {}}
            )
            session = Session(state=state, clock=self.clock, now=time.time())
            session.state["folder"] = str(self.folder)
            session.settle()
            yield session
            new = self.folder / f".{_STATE}.{os.getpid()}"
            new.write_text(json.dumps(session.state), encoding="utf-8")
            new.replace(path)
        for effect in session.effects:
            effect()

    def _log(self, method: str, parameters: Mapping[str, str], body: Body | None, error: str | None) -> None:
        line = json.dumps({"method": method, "parameters": dict(parameters), "body": body, "error": error}) + "\n"
        with (self.folder / _REQUESTS).open("ab", buffering=0) as file:
            file.write(line.encode())


def _refuse_disabled(session: Session, method: str, parameters: Mapping[str, str]) -> None:
    """Refuse a call of an API that is not switched on."""
    service = method.split(".", 1)[0]
    project = project_of(parameters)
    if service not in ("serviceusage", "cloudresourcemanager") and project and not session.enabled(project, service):
        raise GoogleError(
            403,
            f"{service}.googleapis.com has not been used in project {PROJECT_NUMBER} before or it is disabled. Enable it by visiting "
            f"https://console.developers.google.com/apis/api/{service}.googleapis.com/overview?project={project} then retry.",
            "accessNotConfigured",
        )


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


__all__ = ["FINISHED", "Google", "GoogleError", "Session", "fingerprint", "finishes", "handles", "invalid", "not_found", "project_of"]
