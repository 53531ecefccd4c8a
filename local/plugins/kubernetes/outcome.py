"""What an operation on a resource ends with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local.plugins.kubernetes import diff as diffs
from local.plugins.kubernetes import paths

if TYPE_CHECKING:
    from local.plugins.kubernetes.properties import Props


class ProviderError(Exception):
    """The operation failed and changed nothing that the state should know of."""


class InitFailed(Exception):  # noqa: N818
    """The object is there, but not ready: its state is kept, and the next `up` goes on from it."""

    def __init__(self, message: str, *, resource_id: str, state: Props, reasons: list[str], inputs: Props | None = None) -> None:
        super().__init__(message)
        self.resource_id = resource_id
        self.state = state
        self.reasons = reasons
        self.inputs = inputs


@dataclass(frozen=True)
class CheckResult:
    """Inputs as they will be used, and what is wrong with them: (property, reason)."""

    inputs: Props
    failures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class DiffResult:
    """What an update would change."""

    details: dict[paths.Path, diffs.Difference]
    delete_first: bool = False
    extra_replaces: tuple[str, ...] = ()

    @property
    def replaces(self) -> list[str]:
        """The properties that need a new object, as the engine writes paths."""
        return [paths.path_text(path) for path, item in self.details.items() if item.replace] + list(self.extra_replaces)

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.details or self.extra_replaces)


@dataclass(frozen=True)
class ReadResult:
    """An object as it is now; an empty id: it is gone."""

    resource_id: str = ""
    state: Props = field(default_factory=dict)
    inputs: Props = field(default_factory=dict)
