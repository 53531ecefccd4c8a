"""A minimal client of the Kubernetes API: JSON over HTTPS with a client certificate, on one persistent connection."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlencode

from local.platform.errors import PlatformError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

FIELD_MANAGER: Final = "triton-fleet-platform"


class ApiError(PlatformError):
    """The API refuses a request, or is unreachable (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Api:
    """Requests to ``127.0.0.1:port`` as the holder of ``certificate`` (NAME.crt and NAME.key in the pki folder)."""

    def __init__(self, pki: Path, port: int, *, certificate: str = "bootstrap", timeout_s: float = 5.0) -> None:
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(pki / f"{certificate}.crt", pki / f"{certificate}.key")
        self._connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=timeout_s, context=context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> tuple[int, bytes]:
        """Send a request; return the status and the body of the response.

        Raises:
            ApiError: the API is unreachable.
        """
        headers = {"Accept": "application/json"} | ({"Content-Type": content_type} if body is not None else {})
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ApiError(0, f"The API does not answer {method} {path}: {type(error).__name__}: {error}") from error

    def get(self, path: str) -> dict[str, Any] | None:
        """The object at ``path``; None if it does not exist.

        Raises:
            ApiError: the API refuses or is unreachable.
        """
        status, content = self.request("GET", path)
        if status == http.client.NOT_FOUND:
            return None
        _check(status, content, f"GET {path}")
        data: dict[str, Any] = json.loads(content)
        return data

    def apply(self, path: str, item: dict[str, Any]) -> None:
        """Server-side apply ``item`` at ``path``, with force.

        Raises:
            ApiError: the API refuses or is unreachable.
        """
        query = urlencode({"fieldManager": FIELD_MANAGER, "force": "true"})
        status, content = self.request("PATCH", f"{path}?{query}", item, "application/apply-patch+yaml")
        _check(status, content, f"apply {path}")

    def ready(self) -> bool:
        """Whether /readyz succeeds; False if the API is unreachable."""
        try:
            return self.request("GET", "/readyz")[0] == http.client.OK
        except ApiError:
            return False


def _check(status: int, content: bytes, what: str) -> None:
    if status >= http.client.BAD_REQUEST:
        try:
            message = str(json.loads(content).get("message", ""))
        except ValueError:
            message = content[:300].decode("utf-8", "replace")
        raise ApiError(status, f"{what}: {status} {message}")
