"""What the Kubernetes API answers when it does not do what it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from local.plugins.kubernetes.naming import Kind


class Unreachable(Exception):  # noqa: N818  # a state of the world, not a mistake of the caller
    """No answer from the API server."""


@dataclass(frozen=True)
class Cause:
    """One reason of a refusal: which field, why, in the API server's words."""

    field: str
    reason: str
    message: str


class ApiError(Exception):
    """The API server refused."""

    def __init__(self, status: int, reason: str, message: str, causes: tuple[Cause, ...] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes

    @property
    def not_found(self) -> bool:
        """The object (or its namespace) is not there."""
        return self.status == 404  # noqa: PLR2004  # HTTP's own number

    @property
    def namespace_missing(self) -> bool:
        """The namespace that the object goes into is not there."""
        return self.not_found and self.message.startswith("namespaces ")

    @property
    def already_exists(self) -> bool:
        """An object of this name is there."""
        return self.reason == "AlreadyExists"

    @property
    def taken(self) -> bool:
        """An object of this name is there; or one has this Service's fixed port or address (looked for first), and may be it."""
        return self.already_exists or "already allocated" in self.message

    @property
    def conflict(self) -> bool:
        """Somebody else changed or owns it."""
        return self.reason == "Conflict"

    @property
    def invalid(self) -> bool:
        """The object does not pass validation."""
        return self.reason == "Invalid"

    @property
    def forbidden(self) -> bool:
        """We may not, or an admission plugin says no."""
        return self.reason == "Forbidden"


class NoSuchKind(Exception):  # noqa: N818
    """The API server serves no such kind."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(f'no matches for kind "{kind.kind}" in version "{kind.api_version}"')
        self.kind = kind
