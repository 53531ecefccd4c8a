"""Errors of the Kubernetes API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.plugins.kubernetes.naming import Kind


class Unreachable(Exception):  # noqa: N818  # a state, not an error of the caller
    """The API server does not answer."""


@dataclass(frozen=True)
class Cause:
    """One reason for a refusal: the field, and the API server's reason and message."""

    field: str
    reason: str
    message: str


class ApiError(Exception):
    """The API server refuses a request."""

    def __init__(self, status: int, reason: str, message: str, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes

    @property
    def not_found(self) -> bool:
        """The object (or its namespace) does not exist."""
        return self.status == 404  # noqa: PLR2004  # HTTP's own number

    @property
    def namespace_missing(self) -> bool:
        """The object's namespace does not exist."""
        return self.not_found and self.message.startswith("namespaces ")

    @property
    def already_exists(self) -> bool:
        """An object of this name exists."""
        return self.reason == "AlreadyExists"

    @property
    def taken(self) -> bool:
        """An object of this name exists; or a Service, possibly the same, has this fixed port or address, which is checked first."""
        return self.already_exists or "already allocated" in self.message

    @property
    def conflict(self) -> bool:
        """Another manager has changed or owns it."""
        return self.reason == "Conflict"

    @property
    def invalid(self) -> bool:
        """The object is invalid."""
        return self.reason == "Invalid"

    @property
    def forbidden(self) -> bool:
        """Authorization or an admission plugin denies it."""
        return self.reason == "Forbidden"


class NoSuchKind(Exception):  # noqa: N818
    """The API server does not serve the kind."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(f'no matches for kind "{kind.kind}" in version "{kind.api_version}"')
        self.kind = kind
