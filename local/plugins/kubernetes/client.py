"""A client of the Kubernetes API over HTTPS: requests and discovery.

Threads share one client: connections are pooled, discovery is read once per group and version, and again if a kind is missing (its
CustomResourceDefinition may be new). Uses urllib3 instead of a Kubernetes library: objects stay plain dicts, and importing a library would
take half a second.
"""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from local.plugins.kubernetes.errors import ApiError, Cause, NoSuchKind, Unreachable
from local.plugins.kubernetes.naming import split_api_version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import urllib3

    from local.plugins.kubernetes.kubeconfig import Access, Credentials
    from local.plugins.kubernetes.naming import Kind

Object = dict[str, Any]

_CONNECT_TIMEOUT_S = 10.0
_READ_TIMEOUT_S = 60.0  # the API server itself ends a request after 60 s
_POOL_SIZE = 64  # Pulumi works on up to 4 x cores resources at once, Construct on more
_FIRST_PATIENCE_S = 1.0  # for a server that has never answered: most likely it does not exist
_PATIENCE_S = 20.0  # for a server that has answered: it may be restarting
_BUSY_RETRIES = 9
_USER_AGENT = "pulumi-kubernetes/4.34.2 (triton-fleet)"

APPLY = "application/apply-patch+yaml"
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
JSON_PATCH = "application/json-patch+json"


@dataclass(frozen=True)
class Resource:
    """The API resource of a kind."""

    group: str
    version: str
    plural: str
    namespaced: bool

    def path(self, namespace: str = "", name: str = "") -> str:
        """The URL path of a collection or of one object."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        middle = f"/namespaces/{quote(namespace)}" if self.namespaced and namespace else ""
        return f"{root}{middle}/{self.plural}" + (f"/{quote(name, safe=':')}" if name else "")


@dataclass
class Warnings:
    """The API server's warnings (HTTP `Warning` headers)."""

    messages: list[str] = field(default_factory=list)


class Client:
    """A client for one cluster."""

    def __init__(self, access: Access, *, timeout_s: float | None = None) -> None:
        self._access = access
        self._read_timeout_s = timeout_s or _READ_TIMEOUT_S
        self._lock = threading.Lock()
        self._pools: dict[Credentials | None, urllib3.PoolManager] = {}
        self._discovery: dict[str, dict[str, Resource] | None] = {}
        self._version: dict[str, Any] | None = None

    # --- requests

    def request(  # noqa: C901  # retry rules in one place
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        warnings: Warnings | None = None,
        connect_timeout_s: float = _CONNECT_TIMEOUT_S,
        text: bool = False,
    ) -> Any:
        """Send a request.

        Args:
            method: HTTP method.
            path: URL path, starting with a slash.
            query: URL parameters.
            body: The body, sent as JSON (which is also valid for the apply patch type, YAML).
            content_type: The body's content type.
            accept: Accepted content types.
            warnings: Receives the server's warnings.
            connect_timeout_s: Seconds to connect.
            text: The response is text (logs), not JSON.

        Raises:
            ApiError: The server refuses.
            Unreachable: The server does not answer.
        """
        import urllib3  # noqa: PLC0415  # a fifth of the plugin's start time, which a preview without a cluster need not spend

        url = f"{self._access.server}{path}" + (f"?{urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        refreshed = False
        attempt = 0
        started = time.monotonic()
        while True:
            attempt += 1
            credentials = self._access.credentials()
            headers = {"Accept": accept, "User-Agent": _USER_AGENT}
            if data is not None:
                headers["Content-Type"] = content_type
            if credentials.authorization:
                headers["Authorization"] = credentials.authorization
            try:
                answer = self._pool(credentials).request(
                    method,
                    url,
                    body=data,
                    headers=headers,
                    timeout=urllib3.Timeout(connect=connect_timeout_s, read=self._read_timeout_s),
                    retries=False,
                )
            except urllib3.exceptions.HTTPError as error:
                # Every request may be repeated, even if its response was lost: a created object is recognized by its field manager, apply
                # is idempotent, a patch names its resource version, and a deleted object stays deleted.
                patience = _FIRST_PATIENCE_S if self._version is None else _PATIENCE_S
                if time.monotonic() - started < patience:
                    time.sleep(min(0.1 * attempt, 1.0))
                    continue
                raise Unreachable(f"{self._access.server} does not answer: {_plain(error)}") from error
            if answer.status == 401 and self._access.plugin is not None and not refreshed:  # noqa: PLR2004
                refreshed = True
                self._access.forget()
                continue
            if answer.status == 429 and attempt <= _BUSY_RETRIES:  # noqa: PLR2004
                time.sleep(min(float(answer.headers.get("Retry-After", "1")), 5.0))
                continue
            if warnings is not None:
                warnings.messages += [_warning_text(item) for item in answer.headers.getlist("Warning")]
            if answer.status >= 400:  # noqa: PLR2004
                raise _api_error(answer.status, answer.data)
            if text:
                return answer.data.decode(errors="replace")
            try:
                return json.loads(answer.data) if answer.data else {}
            except ValueError as error:
                raise Unreachable(f"{self._access.server}{path} did not return JSON; is it a Kubernetes API?") from error

    def _pool(self, credentials: Credentials) -> urllib3.PoolManager:
        key = credentials if credentials.certificate else None
        with self._lock:
            pool = self._pools.get(key)
            if pool is None:
                pool = self._pools[key] = self._make_pool(credentials)
            return pool

    def _make_pool(self, credentials: Credentials) -> urllib3.PoolManager:
        import urllib3  # noqa: PLC0415  # as above

        context = ssl.create_default_context(cadata=self._access.ca.decode() if self._access.ca else None)
        if self._access.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if credentials.certificate and credentials.key:
            # ssl loads certificates only from files; these exist briefly and are readable only by the user.
            with tempfile.NamedTemporaryFile() as certificate, tempfile.NamedTemporaryFile() as key:
                certificate.write(credentials.certificate)
                key.write(credentials.key)
                certificate.flush()
                key.flush()
                context.load_cert_chain(certificate.name, key.name)
        options: dict[str, Any] = {"num_pools": 4, "maxsize": _POOL_SIZE, "ssl_context": context}
        if self._access.tls_server_name:
            options["server_hostname"] = self._access.tls_server_name
            options["assert_hostname"] = self._access.tls_server_name
        if self._access.insecure:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        if self._access.proxy:
            return urllib3.ProxyManager(self._access.proxy, **options)
        return urllib3.PoolManager(**options)

    # --- discovery

    def version(self) -> dict[str, Any]:
        """The server's version, requested once; also a check that the server is reachable.

        Raises:
            ApiError: The server refuses.
            Unreachable: The server does not answer.
        """
        if self._version is None:
            self._version = self.request("GET", "/version")
        return self._version

    def resource(self, kind: Kind) -> Resource:
        """The API resource of a kind.

        Raises:
            NoSuchKind: The kind is not served (yet).
            ApiError, Unreachable: The server refuses or does not answer.
        """
        group, version = split_api_version(kind.api_version)
        key = f"{group}/{version}"
        with self._lock:
            served = self._discovery.get(key)
        if not served or kind.kind not in served:
            served = self._discover(group, version)
            with self._lock:
                self._discovery[key] = served
        if not served or kind.kind not in served:
            raise NoSuchKind(kind)
        return served[kind.kind]

    def forget_discovery(self) -> None:
        """Clear the discovery cache, because kinds have changed."""
        with self._lock:
            self._discovery.clear()

    def api_versions(self) -> Sequence[str]:
        """The values of a chart's `.Capabilities.APIVersions`: `apps/v1` and `apps/v1/Deployment`, for every served kind."""
        found = []
        for root in ("/api", "/apis"):
            listing = self.request("GET", root, accept=_AGGREGATED)
            for group in listing.get("items") or []:
                name = (group.get("metadata") or {}).get("name") or ""
                for version in group.get("versions") or []:
                    served = f"{name}/{version['version']}" if name else str(version["version"])
                    found.append(served)
                    found += [
                        f"{served}/{item['responseKind']['kind']}" for item in version.get("resources") or [] if item.get("responseKind")
                    ]
        return sorted(set(found))

    def _discover(self, group: str, version: str) -> dict[str, Resource] | None:
        try:
            listing = self.request("GET", f"/apis/{group}/{version}" if group else f"/api/{version}")
        except ApiError as error:
            # 503: an aggregated API whose server is unavailable, and so is the kind.
            if error.status in {404, 503}:
                return None
            raise
        return {
            item["kind"]: Resource(item.get("group") or group, item.get("version") or version, item["name"], item["namespaced"])
            for item in listing.get("resources") or []
            if "/" not in item["name"]
        }

    # --- objects

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Get an object."""
        result: Object = self.request("GET", self.resource(kind).path(namespace, name))
        return result

    def list(self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """List objects in a namespace (all namespaces if empty), filtered by selectors."""
        query = {key: value for key, value in (("labelSelector", labels), ("fieldSelector", fields)) if value}
        result = self.request("GET", self.resource(kind).path(namespace), query=query)
        items: list[Object] = result.get("items") or []
        for item in items:
            item.setdefault("apiVersion", kind.api_version)
            item.setdefault("kind", kind.kind)
        return items

    def create(self, kind: Kind, obj: Object, *, manager: str, dry_run: bool = False, warnings: Warnings | None = None) -> Object:
        """Create an object, which must not exist."""
        query = {"fieldManager": manager, "fieldValidation": "Warn"} | ({"dryRun": "All"} if dry_run else {})
        resource = self.resource(kind)
        result: Object = self.request("POST", resource.path(_namespace(obj)), query=query, body=_scoped(resource, obj), warnings=warnings)
        return result

    def apply(
        self, kind: Kind, obj: Object, *, manager: str, force: bool = False, dry_run: bool = False, warnings: Warnings | None = None
    ) -> Object:
        """Server-side apply an object."""
        query = {"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Warn"} | ({"dryRun": "All"} if dry_run else {})
        resource = self.resource(kind)
        path = resource.path(_namespace(obj), obj["metadata"]["name"])
        result: Object = self.request("PATCH", path, query=query, body=_scoped(resource, obj), content_type=APPLY, warnings=warnings)
        return result

    def patch(self, kind: Kind, namespace: str, name: str, operations: Sequence[Object], *, manager: str = "pulumi-kubernetes") -> Object:
        """Apply a JSON patch."""
        path = self.resource(kind).path(namespace, name)
        result: Object = self.request("PATCH", path, query={"fieldManager": manager}, body=operations, content_type=JSON_PATCH)
        return result

    def replace(self, kind: Kind, obj: Object, *, manager: str, dry_run: bool = False, warnings: Warnings | None = None) -> Object:
        """Replace an existing object (used if server-side apply is disabled)."""
        query = {"fieldManager": manager, "fieldValidation": "Warn"} | ({"dryRun": "All"} if dry_run else {})
        path = self.resource(kind).path(_namespace(obj), obj["metadata"]["name"])
        result: Object = self.request("PUT", path, query=query, body=obj, warnings=warnings)
        return result

    def delete(self, kind: Kind, namespace: str, name: str, *, propagation: str) -> Object:
        """Request the deletion of an object, which may take longer than this call."""
        path = self.resource(kind).path(namespace, name)
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        result: Object = self.request("DELETE", path, body=body)
        return result

    def log_tail(self, namespace: str, pod: str, container: str, *, lines: int, previous: bool) -> str:
        """The last lines of a container's log."""
        query = {"container": container, "tailLines": str(lines)} | ({"previous": "true"} if previous else {})
        result: str = self.request("GET", f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/log", query=query, text=True)
        return result


def _namespace(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("namespace") or "")


def _scoped(resource: Resource, obj: Object) -> Object:
    """The object without a namespace if it is cluster-scoped: charts set one, and the API would refuse it."""
    metadata = obj.get("metadata") or {}
    if resource.namespaced or "namespace" not in metadata:
        return obj
    return {**obj, "metadata": {key: value for key, value in metadata.items() if key != "namespace"}}


def _api_error(status: int, data: bytes) -> ApiError:
    try:
        answer = json.loads(data)
        details = answer.get("details") or {}
        causes = tuple(Cause(c.get("field", ""), c.get("reason", ""), c.get("message", "")) for c in details.get("causes") or [])
        return ApiError(status, answer.get("reason") or "", answer.get("message") or f"HTTP {status}", causes)
    except (ValueError, AttributeError):
        return ApiError(status, "", data.decode(errors="replace").strip() or f"HTTP {status}")


def _warning_text(header: str) -> str:
    # 299 - "unknown field \"spec.foo\""
    _, _, quoted = header.partition('"')
    return quoted.removesuffix('"').replace('\\"', '"') or header


def _plain(error: Exception) -> str:
    text = str(error)
    return text.rsplit(": ", 1)[-1] if "NewConnectionError" in text or "HTTPSConnection" in text else text
