"""How the plugin makes, reads, changes and ends a resource: what all types have in common, and Compute Engine's way of it.

A type is an instance of `Kind` in `tables`. Which changes need a new resource, which values are refused in a preview and which properties
Google fills in is the official provider's schema, of whose code (terraform-provider-google-beta) each table is an extract.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from tests.doubles.gcp.api import document
from tests.doubles.gcp.expand import expand, pick
from tests.doubles.gcp.session import GoogleError
from tests.doubles.provider import DoubleError, InitFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.doubles.gcp.api import Body
    from tests.doubles.gcp.memory import Google
    from tests.doubles.provider import Call, Props

_PATIENCE: Final = 400
_POLL_S: Final = 10.0
"""Seconds of Google's between two looks at what is under way."""
_TURN_S: Final = 0.01
"""Seconds here, so that another process can have its turn at a pace of nothing."""
LABEL: Final = {"goog-pulumi-provisioned": "true"}
"""The provider puts it on whatever takes labels."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """One request, and where it is meant for."""

    google: Google
    call: Call
    config: Mapping[str, str]

    def place(self, inputs: Props) -> dict[str, str]:
        """Project, region and zone of a resource: its own, else the provider's."""
        found = {}
        for key in ("project", "region", "zone"):
            value = inputs.get(key) or self.config.get(key)
            if value:
                found[key] = str(value).rsplit("/", 1)[-1]
        if inputs.get("location"):
            found["location"] = str(inputs["location"])
        elif self.config.get("zone") or self.config.get("region"):
            found["location"] = self.config.get("zone") or self.config["region"]
        if "project" not in found:
            raise DoubleError("project: required field is not set. Set `gcp:project`, the provider's `project` or the resource's own.")
        return found

    def ask(self, method: str, parameters: Mapping[str, str], body: Body | None = None) -> Body:
        """Call Google; what passes by itself is waited for, as the provider does."""
        for _ in range(_PATIENCE):
            try:
                return self.google.call(method, parameters, body)
            except GoogleError as error:
                if error.reason not in ("failedPrecondition", "resourceNotReady"):
                    raise
                self.call.note(f"{method}: {error.message}")
                self.google.clock.wait(_POLL_S)
                time.sleep(_TURN_S)
        raise DoubleError(f"{method}: Google was busy with something else until patience ended")

    def finish(self, operation: str) -> Body | None:
        """Wait for an operation; its error, where it failed."""
        return self.google.wait(operation.rsplit("/", 1)[-1])


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One type of resource."""

    token: str
    api: str
    schema: str
    """Google's name of the body."""
    methods: str
    """Where the API's methods are: ``compute.networks``."""
    name: str
    """The resource's id, of its project, region, location and inputs: ``projects/{project}/global/networks/{name}``."""
    names: Mapping[str, str] = field(default_factory=dict)
    """See `expand.expand`."""
    replaces: tuple[str, ...] = ()
    name_property: str | None = "name"
    name_length: int = 63
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """What the provider takes for inputs that are not given."""
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values that the provider itself takes, by path: others are refused in a preview."""
    computed: tuple[str, ...] = ()
    """Inputs that Google fills in where they are not given: not known in a preview."""
    nested: tuple[str, ...] = ()
    """Paths inside of inputs that only Google knows."""
    outputs: Mapping[str, str | Callable[[Body, Props], Any]] = field(default_factory=dict)
    """Where outputs are in Google's answer; those that are named the same need no entry."""
    labels: str | None = None
    """The property with labels."""

    # --- what a type may do otherwise

    def parameters(self, place: Mapping[str, str], inputs: Props) -> dict[str, str]:
        """Which resource a call is about."""
        raise NotImplementedError

    def body(self, inputs: Props) -> Body:
        """The body that makes it."""
        api = document(self.api)
        made: Body = expand(api, api.schema(self.schema), self.filled(inputs), self.names)
        return made

    def filled(self, inputs: Props) -> Props:
        """Inputs with what the provider adds to them."""
        given = {key: value for key, value in inputs.items() if value is not None}
        found = {**self.defaults, **given}
        if self.labels:
            found[self.labels] = {**LABEL, **(inputs.get(self.labels) or {})}
        return found

    def problems(self, inputs: Props) -> Iterator[tuple[str, str]]:
        """What the provider refuses in a preview, besides `choices`."""
        del inputs
        return iter(())

    def identity(self, context: Context, inputs: Props) -> str:
        """The id."""
        return self.name.format_map({**inputs, **context.place(inputs)})

    def create(self, context: Context, inputs: Props) -> tuple[str, Body]:
        """Make it; its id and what Google says of it then."""
        raise NotImplementedError

    def get(self, context: Context, identity: str, inputs: Props) -> Body:
        """What Google says of it. Raises GoogleError."""
        raise NotImplementedError

    def update(self, context: Context, identity: str, inputs: Props, changed: set[str]) -> None:
        """Change these properties."""
        raise NotImplementedError

    def delete(self, context: Context, identity: str, state: Props) -> None:
        """End it. Raises GoogleError."""
        raise NotImplementedError

    # --- the same for all

    def state(self, inputs: Props, body: Body, outputs: tuple[str, ...], place: Mapping[str, str]) -> Props:
        """What the state has: the inputs, and outputs as far as Google gives them."""
        found: Props = dict(inputs)
        for name in outputs:
            if found.get(name) is not None:
                continue
            where = self.outputs.get(name, name)
            value = where(body, inputs) if callable(where) else pick(body, where)
            if name in place and value is None:
                value = place[name]
            if value is None and name in self.defaults:
                value = self.defaults[name]
            if name in ("effectiveLabels", "pulumiLabels") and self.labels:
                value = {**LABEL, **(inputs.get(self.labels) or {})}
            plain = isinstance(value, (str, int, float, bool))
            if value is not None and (plain or name in self.outputs or name in ("effectiveLabels", "pulumiLabels")):
                found[name] = value
        for path in self.nested:
            _set(found, path, pick(body, path))
        return found


def _set(into: Props, path: str, value: Any) -> None:
    *outer, last = path.split(".")
    for part in outer:
        known = into.get(part)
        into[part] = dict(known) if isinstance(known, dict) else {}
        into = into[part]
    if value is not None:
        into[last] = value


@contextlib.contextmanager
def saying(what: str) -> Iterator[None]:
    """Tell Google's refusals as the provider does."""
    try:
        yield
    except GoogleError as error:
        raise DoubleError(f"{what}: {error}") from None


def refused(operation: Body | None, what: str) -> None:
    """Raise DoubleError where an operation ended badly."""
    if operation:
        raise DoubleError(f"Error waiting for {what}: {operation['message']}")


@dataclass(frozen=True, kw_only=True)
class ComputeKind(Kind):
    """A resource of Compute Engine's: insert, get, patch, delete."""

    api: str = "compute"
    regional: bool = False
    singular: str = ""
    patch_needs: tuple[str, ...] = ()
    """Fields that a patch must repeat."""

    def parameters(self, place: Mapping[str, str], inputs: Props) -> dict[str, str]:
        found = {"project": place["project"]}
        if self.regional:
            if "region" not in place:
                raise DoubleError(f"{self.token}: region: required field is not set")
            found["region"] = place["region"]
        if "name" in inputs:
            found[self.singular] = str(inputs["name"])
        return found

    def _of(self, identity: str, inputs: Props) -> dict[str, str]:
        parts = identity.split("/")
        place = {"project": parts[1], "region": parts[3]}
        return self.parameters(place, {**inputs, "name": parts[-1]})

    def create(self, context: Context, inputs: Props) -> tuple[str, Body]:
        place = context.place(inputs)
        parameters = self.parameters(place, inputs)
        name = parameters.pop(self.singular)
        with saying(f"Error creating {self.schema}"):
            operation = context.ask(f"{self.methods}.insert", parameters, self.body(inputs))
        refused(context.finish(operation["name"]), f"creating {self.schema}")
        identity = self.identity(context, inputs)
        return identity, context.ask(f"{self.methods}.get", {**parameters, self.singular: name})

    def get(self, context: Context, identity: str, inputs: Props) -> Body:
        return context.ask(f"{self.methods}.get", self._of(identity, inputs))

    def update(self, context: Context, identity: str, inputs: Props, changed: set[str]) -> None:
        parameters = self._of(identity, inputs)
        known = self.get(context, identity, inputs)
        whole = self.body(inputs)
        sent = self.body({key: value for key, value in inputs.items() if key in changed})
        body = {key: value for key, value in whole.items() if key in sent or key in self.patch_needs}
        if "fingerprint" in known:
            body["fingerprint"] = known["fingerprint"]
        with saying(f"Error updating {self.schema} {identity!r}"):
            operation = context.ask(f"{self.methods}.patch", parameters, body)
        refused(context.finish(operation["name"]), f"updating {self.schema}")

    def delete(self, context: Context, identity: str, state: Props) -> None:
        with saying_but_gone(f"Error deleting {self.schema}"):
            operation = context.ask(f"{self.methods}.delete", self._of(identity, state))
            refused(context.finish(operation["name"]), f"deleting {self.schema}")


@contextlib.contextmanager
def saying_but_gone(what: str) -> Iterator[None]:
    """`saying`; what is gone already is no error."""
    try:
        yield
    except GoogleError as error:
        if error.code != _NOT_FOUND:
            raise DoubleError(f"{what}: {error}") from None


_NOT_FOUND: Final = 404

__all__ = ["LABEL", "ComputeKind", "Context", "InitFailed", "Kind", "refused", "saying", "saying_but_gone"]
