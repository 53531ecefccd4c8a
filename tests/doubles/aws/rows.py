"""What a row of the table is, and how all of them are done.

A row says which calls make, read, change and end a resource, which properties it has and where they go, and which need a new resource when
they change. Where AWS takes more than one call, a row has a function for it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from local.plugins.kubernetes.diff import refreshed_inputs
from tests.doubles.aws import shapes
from tests.doubles.aws.session import Session, code_of, refused
from tests.doubles.provider import UNKNOWN, Call, DoubleError, Found, InitFailed, Props

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Template = dict[str, Any]
"""Parameters of a call: ``$id`` is the resource's id, ``$id0`` its first part, ``$.x`` its property x; one without a value is left out."""


_LONGEST_TAG: Final = 128
"""Characters of a key; a value may have twice as many."""
_POLL_S: Final = 5.0
"""Seconds of the real cloud between two looks of a waiter."""
_LEAST_POLL_S: Final = 0.05
_BLOCKED: Final = ("DependencyViolation", "InvalidIPAddress.InUse", "DeleteConflict")
"""What the provider tries again, for a while: something that goes at the same time is not gone yet."""
_BLOCKED_S: Final = 300.0
_BLOCKED_LEAST_S: Final = 2.0
"""Time here, at whatever pace: deletes beside this one need some to be answered."""


@dataclass(frozen=True, kw_only=True)
class Wait:
    """How a waiter sees that something is done."""

    path: str
    """Of the status, in the answer of the row's read."""
    good: tuple[str, ...] = ("ACTIVE",)
    """None: nothing is looked at, the provider only lets the time pass."""
    bad: tuple[str, ...] = ("FAILED", "CREATE_FAILED")
    issues: str = ""
    """Path of what is wrong."""
    delay: float | Callable[[Props], float] = 0.0
    """Seconds that it takes at least, as the real cloud does it."""
    timeout: float = 1800.0
    """The provider's patience, in seconds of the real cloud."""
    delete_delay: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Update:
    """One call that changes properties in place."""

    properties: tuple[str, ...]
    call: str = ""
    parameters: Template = field(default_factory=dict)
    do: Callable[[Session, Call, Props], None] | None = None
    """In place of a call, what takes several; the last argument is the state before."""
    wait: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """One resource type."""

    service: str
    create: str
    """The call that makes it; nothing where ``then`` does."""
    properties: Mapping[str, str | None]
    """Property -> where the create call takes it; None: not there, but in ``then`` or nowhere."""
    id: str
    """Path of the id in the create call's answer; with ``$``, a text of properties (``{tag[key]}`` is one within)."""
    read: str = ""
    """The call that reads it; nothing where ``look`` does."""
    read_by: Template = field(default_factory=dict)
    description: str = ""
    """Path of the resource in the read call's answer; nothing where the answer is it."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Output -> path in the description."""
    computed: tuple[str, ...] = ()
    """More outputs that are not known before it is made, such as ``vpcConfig.vpcId``."""
    constant: Mapping[str, str] = field(default_factory=dict)
    """Output -> text of properties, made by ``{}``."""
    live: Mapping[str, str] = field(default_factory=dict)
    """Property -> path in the description: what a refresh compares."""
    delete: str | None = None
    delete_by: Template = field(default_factory=dict)
    replaces: tuple[str, ...] = ()
    replaced_without: tuple[str, ...] = ()
    """Properties whose removal, and no other change, needs a new resource (``ForceNewIfChange`` of the Terraform provider)."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """What the provider itself sends where the program says nothing."""
    name: str | None = None
    name_length: int = 63
    tags: str = ""
    """``ec2:<resource type>``, ``list``, ``map``, ``lower`` or nothing: how the create call takes them."""
    retag: tuple[str, str, Template] | None = None
    """Calls that set and take away tags."""
    renames: Mapping[str, str] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    verify: Callable[[Props], None] | None = None
    """Refuses what `then` could not send; the rest is refused by the create call's shape."""
    more: Callable[[Props], Template] | None = None
    """More parameters of the create call."""
    updates: tuple[Update, ...] = ()
    then: Callable[[Session, Call, str], None] | None = None
    """What the provider does after the create call."""
    first: Callable[[Session, Call], None] | None = None
    """What the provider does before the delete call."""
    look: Callable[[Session, str, Props, Props], Props | None] | None = None
    """In place of the read call: (session, id, properties, state) -> description."""
    more_outputs: Callable[[Session, str, Props], Props] | None = None
    """More outputs: (session, id, description)."""
    unknown_on_update: tuple[str, ...] = ()
    wait: Wait | None = None
    after: Callable[[Session, str, Call], None] | None = None
    """Once a create, an update (operation of the call) or a delete is done."""


def load_models() -> None:
    """Read the descriptions of the largest services, for processes that are forked from this one."""
    for service in ("ec2", "eks", "iam"):
        Session("us-east-1", "http://127.0.0.1:1", 0.0).client(service)


def fill(template: Template, resource_id: str, properties: Props) -> Template:
    """Parameters of a template."""
    filled = {key: _fill(value, resource_id, properties) for key, value in template.items()}
    return {key: value for key, value in filled.items() if value is not None}


def _fill(value: Any, resource_id: str, properties: Props) -> Any:
    if isinstance(value, dict):
        return fill(value, resource_id, properties)
    if isinstance(value, list):
        return [_fill(item, resource_id, properties) for item in value]
    if not isinstance(value, str) or not value.startswith("$"):
        return value
    if value == "$id":
        return resource_id
    if value.startswith("$id"):
        return parts(resource_id)[int(value.removeprefix("$id"))]
    return shapes.look(properties, value.removeprefix("$."))


def parts(resource_id: str) -> list[str]:
    """Parts of an id that is made of several; an ARN within it stays whole."""
    if "#" in resource_id:
        return resource_id.split("#")
    if "," in resource_id:
        return resource_id.split(",", 1)
    return resource_id.split(":", 1)


def text(template: str, properties: Props) -> str:
    """``{clusterName}:{nodeGroupName}`` with the properties' values."""
    return template.format_map(properties)


class Table:
    """Does what rows say."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self.rows = rows

    def row(self, token: str) -> Row:
        if token not in self.rows:
            raise DoubleError(f"the double of aws has no resource type {token}: add a row for it (tests/doubles/aws)")
        return self.rows[token]

    def problems(self, token: str, inputs: Props) -> list[tuple[str, str]]:
        """Inputs that the type has not, a name and tags that are too long."""
        row = self.row(token)
        known = {*row.properties, "tags", "region"} if row.tags else {*row.properties, "region"}
        name, tags = inputs.get(row.name or ""), inputs.get("tags")
        long = [row.name or ""] if isinstance(name, str) and len(name) > row.name_length else []
        if isinstance(tags, dict) and any(len(key) > _LONGEST_TAG or len(str(value)) > 2 * _LONGEST_TAG for key, value in tags.items()):
            long.append("tags")
        return [(key, "Member must satisfy constraint: it is too long") for key in long] + [
            (key, f"{token} has no property {key} (known to this double: {', '.join(sorted(known))})") for key in inputs if key not in known
        ]

    def create(self, session: Session, call: Call) -> tuple[str, Props]:
        row = self.row(call.token)
        inputs = {**row.defaults, **call.inputs}
        parameters = self.parameters(session, row, call, inputs)
        try:
            if row.wait is not None and call.broken is not None and row.service == "eks":
                session.with_fault(fault_text(call))
            answer = session.call(row.service, row.create, **parameters) if row.create else {}
        except ClientError as error:
            raise refused(call, error) from error
        finally:
            session.with_fault("")
        found = text(row.id.removeprefix("$"), inputs) if row.id.startswith("$") else shapes.look(answer, row.id)
        if not found:
            raise DoubleError(f"{row.service}.{row.create} gave no {row.id}: {answer}")
        resource_id = str(found)
        try:
            if row.then is not None:
                row.then(session, call, resource_id)
            if row.wait is not None:
                delay = row.wait.delay(inputs) if callable(row.wait.delay) else row.wait.delay
                call.world.clock.wait((call.broken.delay if call.broken else 0) or delay)
                if row.wait.good:
                    self.settle(session, row, call, resource_id)
        except (ClientError, DoubleError) as error:
            # It is there: AWS made it, and what comes after failed. The provider keeps what there is.
            problem = refused(call, error) if isinstance(error, ClientError) else error
            raise InitFailed(str(problem), resource_id=resource_id, state=self.state(session, row, resource_id, inputs, {})) from error
        state = self.state(session, row, resource_id, inputs, {})
        if row.after is not None:
            row.after(session, resource_id, call)
        return resource_id, state

    def parameters(self, session: Session, row: Row, call: Call, inputs: Props) -> Template:
        """Parameters of the create call."""
        if not row.create:
            return {}
        shape = session.shape(row.service, row.create)
        parameters: Template = {} if row.more is None else row.more(inputs)
        for key, value in inputs.items():
            where = row.properties.get(key)
            if value is not None and where is not None:
                shapes.place(parameters, shape, where, value, prop=key, renames=row.renames)
        tags = inputs.get("tags") or {}
        if tags and row.tags and tags is not UNKNOWN:
            listed = [{"Key": key, "Value": str(value)} for key, value in tags.items()]
            if row.tags.startswith("ec2:"):
                parameters["TagSpecifications"] = [{"ResourceType": row.tags.removeprefix("ec2:"), "Tags": listed}]
            elif row.tags == "list":
                parameters["Tags"] = listed
            elif row.tags == "kms":
                parameters["Tags"] = [{"TagKey": key, "TagValue": str(value)} for key, value in tags.items()]
            elif row.tags == "ecr":
                parameters["tags"] = listed
            else:
                parameters[row.tags] = {key: str(value) for key, value in tags.items()}
        return parameters

    def describe(self, session: Session, row: Row, resource_id: str, properties: Props, state: Props) -> Props | None:
        """The resource in the API's words; None when it is gone."""
        try:
            if row.look is not None:
                return row.look(session, resource_id, properties, state)
            answer = session.call(row.service, row.read, **fill(row.read_by, resource_id, {**state, **properties}))
        except ClientError as error:
            if code_of(error) in row.gone:
                return None
            raise
        found = shapes.look(answer, row.description) if row.description else answer
        return found if isinstance(found, dict) else None

    def settle(self, session: Session, row: Row, call: Call, resource_id: str) -> None:
        """Wait until it is as it should be."""
        wait = row.wait
        assert wait is not None
        clock = call.world.clock
        patience = call.timeout_s or wait.timeout
        end = time.time() + clock.scaled(patience)
        while True:
            found = self.describe(session, row, resource_id, call.inputs, call.olds)
            status = str(shapes.look(found, wait.path)) if found is not None else "gone"
            if status in wait.good:
                return
            issues = shapes.look(found, wait.issues) if wait.issues and found else None
            because = f": {'; '.join(str(item.get('message', item)) for item in issues)}" if issues else ""
            if status in (*wait.bad, "gone"):
                raise DoubleError(
                    f"waiting for {call.token} ({resource_id}): unexpected state '{status}', wanted '{wait.good[0]}'{because}"
                )
            if time.time() >= end:
                raise DoubleError(
                    f"waiting for {call.token} ({resource_id}): timeout while waiting for state to become '{wait.good[0]}' "
                    f"(last state: '{status}', timeout: {patience / 60:.0f}m0s){because}"
                )
            clock.wait_until(time.time() + max(_LEAST_POLL_S, clock.scaled(_POLL_S)))

    def state(self, session: Session, row: Row, resource_id: str, inputs: Props, olds: Props) -> Props:
        """What the engine keeps of it."""
        found = self.describe(session, row, resource_id, inputs, olds) or {}
        state: Props = {**{key: value for key, value in inputs.items() if value is not None}, "region": session.region}
        for key, path in row.outputs.items():
            value = shapes.look(found, path)
            if value is not None:
                state[key] = shapes.back(value)
        if row.more_outputs is not None:
            for key, value in row.more_outputs(session, resource_id, found).items():
                state[key] = {**state[key], **value} if isinstance(value, dict) and isinstance(state.get(key), dict) else value
        for key, template in row.constant.items():
            state[key] = text(template, {**state, "id": resource_id})
        if row.tags:
            state["tagsAll"] = dict(inputs.get("tags") or {})
        return state

    def update(self, session: Session, call: Call) -> Props:
        row = self.row(call.token)
        changed = {key for key in {*call.old_inputs, *call.inputs} if call.old_inputs.get(key) != call.inputs.get(key) and key != "region"}
        try:
            if "tags" in changed and row.tags:
                self._retag(session, row, call)
                changed.discard("tags")
            for update in row.updates:
                if not changed & set(update.properties):
                    continue
                changed -= set(update.properties)
                if update.do is not None:
                    update.do(session, call, call.olds)
                else:
                    session.call(row.service, update.call, **fill(update.parameters, call.id, {**call.olds, **call.inputs}))
                if update.wait:
                    self.settle(session, row, call, call.id)
        except ClientError as error:
            raise refused(call, error) from error
        if changed:
            raise DoubleError(f"{call.token}: no way is written to change {', '.join(sorted(changed))} in place (tests/doubles/aws)")
        state = self.state(session, row, call.id, {**row.defaults, **call.inputs}, call.olds)
        if row.after is not None:
            row.after(session, call.id, call)
        return state

    def _retag(self, session: Session, row: Row, call: Call) -> None:
        if row.retag is None:
            raise DoubleError(f"{call.token}: no way is written to change its tags in place (tests/doubles/aws)")
        old, new = call.old_inputs.get("tags") or {}, call.inputs.get("tags") or {}
        put, take, by = row.retag
        where = fill(by, call.id, {**call.olds, **call.inputs})
        lost = [key for key in old if key not in new]
        shape = session.shape(row.service, put)
        name = next(key for key in shape.members if key.lower() == "tags")
        if lost:
            other = session.shape(row.service, take)
            key = next(key for key in other.members if key.lower() in ("tagkeys", "tags"))
            session.call(row.service, take, **where, **{key: [{"Key": item} for item in lost] if key == "Tags" else lost})
        if new:
            if row.tags == "kms":
                value: Any = [{"TagKey": key, "TagValue": item} for key, item in new.items()]
            elif shape.members[name].type_name == "list":
                value = [{"Key": key, "Value": item} for key, item in new.items()]
            else:
                value = new
            session.call(row.service, put, **where, **{name: value})

    def read(self, session: Session, call: Call) -> Found | None:
        row = self.row(call.token)
        found = self.describe(session, row, call.id, call.inputs, call.olds)
        wait = row.wait
        if not found or (wait is not None and str(shapes.look(found, wait.path)).lower() in ("deleted", "deleting")):
            return None
        state = {**call.olds, **self.state(session, row, call.id, {**row.defaults, **call.inputs}, call.olds)}
        for key, path in row.live.items():
            value = shapes.look(found, path)
            state[key] = shapes.back(value) if value is not None else None
        if row.tags and row.live.get("tags"):
            state["tags"] = {key: value for key, value in (state.get("tags") or {}).items() if not key.startswith("aws:")}
        inputs = {
            key: refreshed_inputs(value, call.olds.get(key), state[key]) if key in row.live and state.get(key) is not None else value
            for key, value in call.inputs.items()
        }
        if not call.inputs:  # an import
            inputs = {key: state[key] for key in row.live if state[key] is not None}
        return Found(id=call.id, state={key: value for key, value in state.items() if value is not None}, inputs=inputs)

    def delete(self, session: Session, call: Call) -> None:
        row = self.row(call.token)
        clock = call.world.clock
        end = time.time() + max(_BLOCKED_LEAST_S, clock.scaled(call.timeout_s or _BLOCKED_S))
        while True:
            try:
                if row.first is not None:
                    row.first(session, call)
                if row.delete is not None:
                    session.call(row.service, row.delete, **fill(row.delete_by, call.id, call.olds))
                break
            except ClientError as error:
                if code_of(error) in row.gone:
                    break
                if code_of(error) not in _BLOCKED or time.time() >= end:
                    raise refused(call, error) from error
                call.note(f"{code_of(error)}: {error.response['Error'].get('Message', '')}")
                clock.wait_until(time.time() + max(_LEAST_POLL_S * 2, clock.scaled(10.0)))
        if row.wait is not None and row.wait.good:
            clock.wait(row.wait.delete_delay)
            self._wait_gone(session, row, call)
        if row.after is not None:
            row.after(session, call.id, call)

    def _wait_gone(self, session: Session, row: Row, call: Call) -> None:
        clock = call.world.clock
        assert row.wait is not None
        end = time.time() + max(_BLOCKED_LEAST_S, clock.scaled(row.wait.timeout))
        while True:
            found = self.describe(session, row, call.id, call.olds, call.olds)
            if not found or str(shapes.look(found, row.wait.path)).lower() in ("deleted", "none"):
                return
            if time.time() >= end:
                raise DoubleError(f"waiting for {call.token} ({call.id}) to be deleted: timeout")
            clock.wait_until(time.time() + max(_LEAST_POLL_S, clock.scaled(_POLL_S)))


def fault_text(call: Call) -> str:
    """What the server is told of a resource that is to turn out broken."""
    import json  # noqa: PLC0415  # rarely

    assert call.broken is not None
    return json.dumps({"delay": call.broken.delay, "message": call.broken.message or f"{call.name} could not be made"})


def preview(row: Row, inputs: Props) -> Props:
    """State of a resource that is yet to be made: what is computed is not known, nested properties too."""
    state: Props = {**dict.fromkeys([*row.outputs, *row.constant], UNKNOWN), **row.defaults}
    state |= {key: value for key, value in inputs.items() if value is not None}
    for path in row.computed:
        head, _, rest = path.partition(".")
        if not rest:
            state.setdefault(head, UNKNOWN)
        elif isinstance(state.get(head), dict):
            state[head] = {**state[head], rest: state[head].get(rest, UNKNOWN)}
        elif head not in inputs:
            state[head] = UNKNOWN
    if row.tags:
        state["tagsAll"] = inputs.get("tags") or {}
    return state


def same(names: str, *, style: str = "") -> dict[str, str]:
    """Properties that the API calls by the same name."""
    return {name: name for name in names.split()} if not style else {name: f"{style}.{name}" for name in names.split()}


def unsent(names: str) -> dict[str, str | None]:
    """Properties that the create call does not take."""
    return dict.fromkeys(names.split())
