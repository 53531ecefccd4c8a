"""Google in memory: one file that keeps everything, and the one place through which every call goes.

The file lies in the folder that all doubles of a run share, so that it outlives the plugin's process; every call takes its lock. Handlers
are in the modules that are imported here; each is registered for one method of Google's and sees only calls that keep to its description.
What they answer is held against the description as well.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import json
import os
import time
from typing import TYPE_CHECKING, Final

from tests.doubles.gcp import accounts, compute, container, pools, routers, stores, versions  # noqa: F401  # their handlers register themselves
from tests.doubles.gcp.api import Body, check_call, find
from tests.doubles.gcp.pools import pool_is_up
from tests.doubles.gcp.session import HANDLERS, PROJECT_NUMBER, GoogleError, Session, project_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.doubles.clock import Clock

_STATE: Final = "gcp.json"
_LOCK: Final = "gcp.lock"
_REQUESTS: Final = "gcp-requests.jsonl"


class Google:
    """All of Google that a run needs."""

    def __init__(self, folder: Path, clock: Clock) -> None:
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
