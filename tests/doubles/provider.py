"""What a double of a plugin is made of: one method an operation, plain values in and out.

A double subclasses `Double`. Values come without secret wrappers (what is secret in the inputs is made secret in the state again by the
server); what is not known in a preview is `UNKNOWN`. Errors that the cloud would give are `DoubleError`; a resource that was made and is
broken is `InitFailed`. Whatever else is raised is a mistake of the double, and reaches the engine with its traceback.

Modules of doubles import neither `pulumi` nor an SDK at their top: they are loaded without, in a third of the time. What a component needs
of them is imported in `Double.components`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from local.plugins.kubernetes.diff import Change, Difference, differences
from local.plugins.kubernetes.paths import parse_path
from local.plugins.kubernetes.properties import UNKNOWN, Props, has_unknown
from local.plugins.kubernetes.replacement import needs_replacement
from tests.doubles import FOLDER_VARIABLE, clock
from tests.doubles.faults import Fault, Faults, Journal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from local.plugins.kubernetes.paths import Path as PropertyPath

_SUFFIX_DIGITS: Final = 7
"""Hex digits that Pulumi's engine puts after a logical name where a resource has no name of its own."""


DEFAULTS: Final = "__defaults"
"""Input in which bridged providers keep the names of the properties that they filled themselves."""


class DoubleError(Exception):
    """The cloud refused; nothing was changed that the state should know of."""


class CreateFailed(Exception):  # noqa: N818  # what the cloud says of a resource
    """A fault's: the resource that is being made turned out broken. It stays, and a double raises `InitFailed` with what there is."""


class InitFailed(Exception):  # noqa: N818  # the protocol's name
    """The resource is there, and not as it should be: its state is kept, and the next `up` goes on from it."""

    def __init__(self, message: str, *, resource_id: str, state: Props) -> None:
        super().__init__(message)
        self.resource_id = resource_id
        self.state = state


@dataclass(frozen=True)
class World:
    """What a run's doubles share."""

    folder: Path
    clock: clock.Clock
    faults: Faults
    journal: Journal


def world(environment: Mapping[str, str] | None = None) -> World:
    """The world that the environment names.

    Raises:
        LookupError: It names none: a double without a folder would share its cloud with every other run.
    """
    known = os.environ if environment is None else environment
    if not known.get(FOLDER_VARIABLE):
        message = f"{FOLDER_VARIABLE} is not set: a double of a cloud plugin was started where no test prepared it (tests.doubles.install)"
        raise LookupError(message)
    folder = Path(known[FOLDER_VARIABLE])
    return World(folder, clock.from_environment(known), Faults(folder), Journal(folder))


@dataclass(kw_only=True)
class Call:
    """One request of the engine."""

    world: World
    operation: str
    """check, diff, create, update, read, delete or invoke."""
    token: str
    """Type token, such as ``aws:ec2/vpc:Vpc``; of an invoke, the function's."""
    urn: str = ""
    name: str = ""
    """Logical name."""
    id: str = ""
    inputs: Props = field(default_factory=dict)
    """New inputs; of an invoke, its arguments; of a read, the state's inputs."""
    olds: Props = field(default_factory=dict)
    """State (outputs) before; of a check, the inputs before."""
    old_inputs: Props = field(default_factory=dict)
    preview: bool = False
    timeout_s: float = 0.0
    """From `custom_timeouts`; 0 where there is none."""
    seed: bytes = b""
    proposed_name: str = ""
    broken: Fault | None = None
    """Set where this create is to end with `CreateFailed`."""
    number: str = field(default_factory=lambda: secrets.token_hex(6))

    def wait(self, seconds: float) -> None:
        """Let ``seconds`` of the real cloud pass, as a waiter does. Raises Cancelled, and CreateFailed where a fault wants it."""
        if self.broken is not None:
            self.world.clock.wait(self.broken.delay or seconds)
            raise CreateFailed(self.broken.message or f"unexpected state 'CREATE_FAILED', wanted target 'ACTIVE' ({self.name})")
        self.world.clock.wait(seconds)

    def note(self, text: str) -> None:
        """Add a line to the journal, between this call's beginning and end."""
        self.world.journal.write(self.number, "note", text=text)

    def autoname(self, *, length: int = 63) -> str:
        """A name as the engine makes it where the program gives none: the logical one and a random end, the same one in every preview.

        As in bridged providers (`NewUniqueName` of the engine's SDK), a name that is too long is an error and never cut.
        """
        if self.proposed_name:
            return self.proposed_name
        digits = hashlib.sha256(self.seed).hexdigest() if self.seed else secrets.token_hex(_SUFFIX_DIGITS)
        if len(self.name) + 1 + _SUFFIX_DIGITS > length:
            raise DoubleError(f"name '{self.name}-' plus {_SUFFIX_DIGITS} random chars is longer than maximum length {length}")
        return f"{self.name}-{digits[:_SUFFIX_DIGITS]}"

    def named(self, prop: str, *, length: int = 63) -> Props:
        """Inputs of a check with the property ``prop`` filled where the program left it out: as before, or with a new name."""
        if self.inputs.get(prop) is not None:
            return self.inputs
        old = self.olds.get(prop) if prop in self.olds.get(DEFAULTS, ()) else None
        return {**self.inputs, prop: old or self.autoname(length=length), DEFAULTS: [prop]}


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Inputs as they will be used, and what is wrong with them: (property, reason)."""

    inputs: Props
    failures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What an update would change."""

    details: Mapping[PropertyPath, Difference]
    delete_first: bool = False
    """Whether the old one must go before the new one comes, because both would have one name."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A resource as it is now."""

    id: str
    state: Props
    inputs: Props


class Double:
    """A plugin. Each method has the call's values; the ones that raise NotImplementedError are what a double must have."""

    name: ClassVar[str]
    version: ClassVar[str]

    def __init__(self, world: World) -> None:
        self.world = world

    # --- to be written

    def configure(self, variables: Props) -> None:
        """Take the provider's configuration (`region`, ...): strings, and what was JSON as its value."""

    def replaces(self, token: str) -> Sequence[str]:
        """Properties whose change needs a new resource, as paths (``vpcConfig.subnetIds``, ``launchTemplate.id``)."""
        return ()

    def name_property(self, token: str) -> str | None:
        """The property that two resources can't share, which `check` fills where the program gives none."""
        return None

    def computed(self, token: str) -> Sequence[str]:
        """Outputs that are known only once the resource is made."""
        return ()

    def check(self, call: Call) -> Checked:
        """Inputs as they will be used: names, defaults, what is unknown to the double refused."""
        return Checked(inputs=call.inputs)

    def create(self, call: Call) -> tuple[str, Props]:
        """Make a resource, wait until it is usable; id and state."""
        raise NotImplementedError

    def update(self, call: Call) -> Props:
        """Change a resource in place; its state."""
        raise NotImplementedError

    def delete(self, call: Call) -> None:
        """End a resource, wait until it is gone. One that is gone already is no error."""
        raise NotImplementedError

    def read(self, call: Call) -> Found | None:
        """A resource as it is now; None when it is gone. ``call.inputs`` is empty when it is imported."""
        return Found(id=call.id, state=call.olds, inputs=call.inputs)

    def invoke(self, call: Call) -> Props:
        """A function's result."""
        raise DoubleError(f"the double of {self.name} has no function {call.token}")

    def components(self, engine_address: str) -> Any:
        """A servicer whose Construct makes this plugin's components; imports the SDK. None where the plugin has no components."""
        return None

    # --- as every bridged provider does it

    def diff(self, call: Call) -> Changes:
        """What differs between the inputs of the last update and the new ones."""
        rules = [parse_path(text) for text in self.replaces(call.token)]
        old, new = without_defaults(call.old_inputs), without_defaults(call.inputs)
        details = {
            path: Difference(change, needs_replacement(path, old, new, rules))
            for path, change in differences(_without_none(old), _without_none(new)).items()
        }
        replaced = any(item.replace for item in details.values())
        prop = self.name_property(call.token)
        given = prop is not None and prop in new and prop not in call.inputs.get(DEFAULTS, ())
        return Changes(details=details, delete_first=replaced and given and old.get(prop or "") == new[prop or ""])

    def preview(self, call: Call) -> Props:
        """State of a resource that is yet to be made."""
        return {**dict.fromkeys(self.computed(call.token), UNKNOWN), **call.inputs}

    def preview_update(self, call: Call) -> Props:
        """State of a resource that is yet to be changed."""
        kept = {key: value for key, value in call.olds.items() if key not in call.old_inputs or key in call.inputs}
        return {**kept, **call.inputs}


def without_defaults(inputs: Props) -> Props:
    """Inputs without the mark of which of them the provider filled."""
    return {key: value for key, value in inputs.items() if key != DEFAULTS}


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


__all__ = [
    "DEFAULTS",
    "UNKNOWN",
    "Call",
    "Change",
    "Changes",
    "Checked",
    "CreateFailed",
    "Difference",
    "Double",
    "DoubleError",
    "Found",
    "InitFailed",
    "Props",
    "World",
    "has_unknown",
    "without_defaults",
    "world",
]
