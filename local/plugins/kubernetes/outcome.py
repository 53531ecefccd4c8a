"""Results of an operation on a resource."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local.plugins.kubernetes import diff as diffs
from local.plugins.kubernetes import paths

if TYPE_CHECKING:
    from local.plugins.kubernetes.properties import Props


class ProviderError(Exception):
    """The operation failed without changes that the state must record."""


class InitFailed(Exception):  # noqa: N818
    """The object exists but is not ready: its state is kept, and the next `up` continues from it."""

    def __init__(self, message: str, *, resource_id: str, state: Props, reasons: list[str], inputs: Props | None = None) -> None:
        super().__init__(message)
        self.resource_id = resource_id
        self.state = state
        self.reasons = reasons
        self.inputs = inputs


@dataclass(frozen=True)
class CheckResult:
    """Checked inputs, and problems as (property, reason)."""

    inputs: Props
    failures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class DiffResult:
    """The changes of an update."""

    details: dict[paths.Path, diffs.Difference]
    delete_first: bool = False
    extra_replaces: tuple[str, ...] = ()

    @property
    def replaces(self) -> list[str]:
        """The paths of properties that need a new object, in the engine's format."""
        return [paths.path_text(path) for path, item in self.details.items() if item.replace] + list(self.extra_replaces)

    @property
    def changed(self) -> bool:
        """Whether anything changes."""
        return bool(self.details or self.extra_replaces)


@dataclass(frozen=True)
class ReadResult:
    """The current object; an empty ID means that it does not exist."""

    resource_id: str = ""
    state: Props = field(default_factory=dict)
    inputs: Props = field(default_factory=dict)
