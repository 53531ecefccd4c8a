"""The plugin: checks inputs as the official one does, and asks the Google that `memory` is."""

from __future__ import annotations

import contextlib
import os
import re
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any, ClassVar, Final

from local.plugins.kubernetes.diff import Change, Difference
from local.plugins.kubernetes.paths import parse_path
from tests.doubles.gcp import account_kinds, cluster_kinds, functions, network_kinds, pool_kinds, shapes, store_kinds
from tests.doubles.gcp.expand import Unmapped
from tests.doubles.gcp.kinds import Context
from tests.doubles.gcp.memory import Google
from tests.doubles.gcp.session import GoogleError
from tests.doubles.install import sdk_version
from tests.doubles.provider import UNKNOWN, Call, Changes, Checked, Double, DoubleError, Found, Props, World, has_unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.doubles.gcp.kinds import Kind

KINDS: Final[Mapping[str, Kind]] = {
    kind.token: kind
    for kind in (*network_kinds.KINDS, *account_kinds.KINDS, *store_kinds.KINDS, cluster_kinds.CLUSTER, pool_kinds.NODE_POOL)
}
_NOT_FOUND: Final = 404
_INDEX: Final = re.compile(r"\[\d+\]")
_ENVIRONMENT: Final = {
    "project": ("GOOGLE_PROJECT", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT"),
    "region": ("GOOGLE_REGION", "GCLOUD_REGION", "CLOUDSDK_COMPUTE_REGION"),
    "zone": ("GOOGLE_ZONE", "GCLOUD_ZONE", "CLOUDSDK_COMPUTE_ZONE"),
}


class Gcp(Double):
    """See the package."""

    name: ClassVar[str] = "gcp"
    version: ClassVar[str] = sdk_version("gcp")

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.google = Google(world.folder, world.clock)
        self._config: dict[str, str] = {}
        self._shapes = shapes.load(KINDS)

    def configure(self, variables: Props) -> None:
        """Take project, region and zone; the environment's where the program gives none."""
        for key, names in _ENVIRONMENT.items():
            found = variables.get(key) or next((os.environ[name] for name in names if os.environ.get(name)), None)
            if found:
                self._config[key] = str(found)

    # --- what the base asks

    def replaces(self, token: str) -> Sequence[str]:
        """See Double."""
        return self._kind(token).replaces

    def name_property(self, token: str) -> str | None:
        """See Double."""
        return self._kind(token).name_property

    def computed(self, token: str) -> Sequence[str]:
        """Outputs that no input gives, and inputs that Google fills in."""
        shape = self._shapes[token]
        inputs = shape["inputs"]["object"]
        return [*(name for name in shape["outputs"] if name not in inputs), *self._kind(token).computed]

    def diff(self, call: Call) -> Changes:
        """See Double. A subnetwork whose range does not contain the old one is made anew (the provider's `IsShrinkageIpCidr`)."""
        changes, ranges = super().diff(call), (call.old_inputs.get("ipCidrRange"), call.inputs.get("ipCidrRange"))
        if not all(isinstance(value, str) for value in ranges) or IPv4Network(ranges[0]).subnet_of(IPv4Network(ranges[1])):
            return changes
        details = {**changes.details, parse_path("ipCidrRange"): Difference(Change.UPDATE, replace=True)}
        return Changes(details=details, delete_first=call.olds.get("name") == call.inputs.get("name"))

    def check(self, call: Call) -> Checked:
        """Names, unknown properties, values that the provider itself refuses."""
        kind = self._kind(call.token)
        inputs = dict(call.inputs)
        prop = kind.name_property
        if prop == "name" and not inputs.get(prop) and not inputs.get("namePrefix"):
            old = call.olds.get(prop)
            inputs[prop] = old or call.autoname(length=kind.name_length)
        failures = shapes.problems(self._shapes[call.token]["inputs"], inputs, unknown=UNKNOWN)
        if not failures:
            known = {key: value for key, value in inputs.items() if value is not UNKNOWN}
            failures = [*_choices(kind, known), *kind.problems(known), *self._unmapped(kind, known)]
        if not inputs.get("project") and "project" in kind.computed and not self._config.get("project"):
            failures.append(("project", "required field is not set; set `gcp:project`, the provider's project or the resource's own"))
        return Checked(
            inputs=inputs, failures=tuple((name, f"{reason}. Examine values at '{call.name}.{name}'.") for name, reason in failures)
        )

    def preview(self, call: Call) -> Props:
        """State of a resource that is yet to be made."""
        kind = self._kind(call.token)
        state = super().preview(call)
        for name in ("project", "region"):
            if state.get(name) is UNKNOWN and self._config.get(name):
                state[name] = self._config[name]
        for name, value in kind.defaults.items():
            state.setdefault(name, value)
        for path in kind.nested:
            _unknown(state, path.split("."))
        return state

    def create(self, call: Call) -> tuple[str, Props]:
        """Make a resource."""
        kind, context = self._kind(call.token), self._context(call)
        try:
            identity, body = kind.create(context, call.inputs)
        except Unmapped as error:
            raise DoubleError(f"the double can't send {error} of {call.token}") from None
        except GoogleError as error:
            raise DoubleError(f"Error creating {kind.schema or call.token}: {error}") from None
        return identity, self._state(kind, context, identity, call.inputs, body)

    def update(self, call: Call) -> Props:
        """Change a resource in place."""
        kind, context = self._kind(call.token), self._context(call)
        changed = {key for key in {*call.old_inputs, *call.inputs} if call.old_inputs.get(key) != call.inputs.get(key)}
        try:
            if changed:
                kind.update(context, call.id, call.inputs, changed)
            body = kind.get(context, call.id, call.inputs)
        except GoogleError as error:
            raise DoubleError(f"Error updating {kind.schema or call.token} {call.id!r}: {error}") from None
        return self._state(kind, context, call.id, call.inputs, body)

    def delete(self, call: Call) -> None:
        """End a resource, but where `deletionPolicy` says otherwise."""
        kind = self._kind(call.token)
        policy = call.olds.get("deletionPolicy")
        if policy == "ABANDON":
            return
        if policy == "PREVENT":
            raise DoubleError(f"Cannot destroy {call.id}: deletion_policy is PREVENT")
        kind.delete(self._context(call), call.id, call.olds)

    def read(self, call: Call) -> Found | None:
        """A resource as it is now."""
        kind, context = self._kind(call.token), self._context(call)
        if not call.inputs:
            raise DoubleError(f"the double can't import {call.token}")
        try:
            body = kind.get(context, call.id, call.inputs)
        except GoogleError as error:
            if error.code == _NOT_FOUND:
                return None
            raise DoubleError(str(error)) from None
        return Found(id=call.id, state=self._state(kind, context, call.id, call.inputs, body), inputs=call.inputs)

    def invoke(self, call: Call) -> Props:
        """A function's result."""
        if call.token not in functions.FUNCTIONS:
            raise DoubleError(f"the double of {self.name} has no function {call.token}")
        try:
            return functions.FUNCTIONS[call.token](self._context(call))
        except GoogleError as error:
            raise DoubleError(f"{call.token}: {error}") from None

    # --- within

    def _kind(self, token: str) -> Kind:
        if token not in KINDS:
            raise DoubleError(f"the double of {self.name} knows no type {token}; it has {', '.join(sorted(KINDS))}")
        return KINDS[token]

    def _context(self, call: Call) -> Context:
        return Context(google=self.google, call=call, config=self._config)

    def _unmapped(self, kind: Kind, inputs: Props) -> list[tuple[str, str]]:
        """Properties that no field of Google's takes: found in the preview, and not when half of a stack is there."""
        if not kind.schema or has_unknown(inputs):
            return []
        try:
            kind.body({"name": "x", **inputs} if kind.name_property == "name" else inputs)
        except Unmapped as error:
            return [(str(error), "the double can't send it")]
        except DoubleError as error:
            return [("", str(error))]
        except KeyError:
            return []  # a required property is missing, which has been said
        return []

    def _state(self, kind: Kind, context: Context, identity: str, inputs: Props, body: Props) -> Props:
        place = {}
        with contextlib.suppress(DoubleError):
            place = context.place(inputs)
        parts = identity.split("/")
        if parts[0] == "projects" and len(parts) > _PLACE_PARTS:
            place["project"] = parts[1]
            if parts[2] in ("locations", "regions"):
                place[parts[2][:-1]] = parts[3]
        return kind.state(inputs, body, tuple(self._shapes[kind.token]["outputs"]), place)


_PLACE_PARTS: Final = 3


def _choices(kind: Kind, inputs: Props) -> Iterator[tuple[str, str]]:
    for path, allowed in kind.choices.items():
        for place, value in _at(inputs, path.split("."), ""):
            if isinstance(value, str) and value not in allowed:
                yield place, f"expected {_INDEX.sub('', place)} to be one of {list(allowed)}, got {value}"


def _at(value: Any, parts: Sequence[str], place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _at(item, parts, f"{place}[{index}]")
    elif not parts:
        yield place, value
    elif isinstance(value, dict) and parts[0] in value:
        yield from _at(value[parts[0]], parts[1:], f"{place}.{parts[0]}".lstrip("."))


def _unknown(state: Any, parts: Sequence[str]) -> None:
    """Let what only Google knows be unknown inside of what the program gives."""
    head, *rest = parts
    known = state.get(head)
    if not rest:
        state.setdefault(head, UNKNOWN)
    elif known is None or known is UNKNOWN:
        state[head] = UNKNOWN
    elif isinstance(known, dict):
        state[head] = dict(known)
        _unknown(state[head], rest)
