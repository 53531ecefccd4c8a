"""Finds a cluster in a kubeconfig as kubectl does, and asks it whether it answers."""

from __future__ import annotations

import binascii
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import yaml
from kubernetes import client, config
from urllib3.exceptions import HTTPError

from components.base.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_TIMEOUT_S: Final = 10.0
"""A healthy API server answers /version in milliseconds; ten seconds cover a slow VPN."""
_KEY: Final = "triton-fleet:cluster"
_GKE_PLUGIN: Final = "gke-gcloud-auth-plugin"
"""What ``gcloud container clusters get-credentials`` writes into a kubeconfig."""
_NO_ANSWER: Final = "does not answer ({}): nothing was created. Start it (make up) or fix the kubeconfig."


@dataclass(frozen=True, kw_only=True)
class Access:
    """One context of a kubeconfig."""

    path: str | None
    """The stack's own kubeconfig; None for what kubectl would use."""
    context: str
    server: str
    files: str
    """The kubeconfig files that exist, separated as in KUBECONFIG."""
    checkable: bool
    """False where the credentials come from a program (``aws eks get-token``, ``gke-gcloud-auth-plugin``) or the context has its own proxy:
    running the one or testing the other is left to the Kubernetes provider."""
    gke: bool = False
    """Whether it is a GKE cluster, by the program that makes its credentials or by its version."""


def find(path: str | None, context: str | None) -> Access:
    """Find the cluster and check that it answers. Arguments and errors are those of `read` and `check_answers`."""
    access = read(path, context)
    version = check_answers(access)
    return replace(access, gke=access.gke or "-gke." in version)


def read(path: str | None, context: str | None, environ: Mapping[str, str] | None = None) -> Access:
    """Find the context to use.

    Args:
        path: A kubeconfig file; None means the files in KUBECONFIG (the first to define an entry wins), else ~/.kube/config.
        context: A context in it; None means the current one.
        environ: The environment; tests pass their own.

    Raises:
        FleetError: If the file or the context does not exist, or can't be read.
    """
    environ = os.environ if environ is None else environ
    sources = _sources(path, environ)
    origin = os.pathsep.join(map(str, sources))
    present = [source for source in sources if source.is_file()]
    if not present:
        raise FleetError(
            f"{_KEY}.kubeconfig ({origin}) is not a file: there is no cluster to build on, nothing was created. "
            'Run `eval "$(make -s env)"` for the embedded cluster, set KUBECONFIG, or name the file in the stack.'
        )
    contents = [_parse(source) for source in present]
    # The client takes the last file's current-context, kubectl the first's.
    chosen = context or next((str(current) for content in contents if (current := content.get("current-context"))), "")
    if not chosen:
        raise FleetError(f"{_KEY}.context is missing and {origin} has no current-context: no cluster is selected. Set cluster.context.")
    contexts = _entries(contents, "context")
    if chosen not in contexts:
        known = ", ".join(sorted(contexts)) or "none"
        raise FleetError(f"{_KEY}.context ({chosen}) is not in {origin}: no cluster is selected. Choose one of: {known}.")
    cluster = _entries(contents, "cluster").get(str(contexts[chosen].get("cluster")), {})
    user = _entries(contents, "user").get(str(contexts[chosen].get("user")), {})
    server = str(cluster.get("server", ""))
    if not urlsplit(server).hostname:
        raise FleetError(f"{_KEY}.context ({chosen}) names no server in {origin}: no cluster is selected. Fix the kubeconfig.")
    return Access(
        path=path,
        context=chosen,
        server=server,
        files=os.pathsep.join(map(str, present)),
        checkable=not {"exec", "auth-provider"} & user.keys() and "proxy-url" not in cluster,
        gke=Path(str((user.get("exec") or {}).get("command"))).name == _GKE_PLUGIN
        or (user.get("auth-provider") or {}).get("name") == "gcp",
    )


def check_answers(access: Access, timeout_s: float = _TIMEOUT_S) -> str:
    """Ask the API server for its version, so that an unreachable cluster is reported before anything is created.

    Returns:
        Its answer, with versions such as ``v1.35.1-gke.1200``; empty if it can't be asked or withholds them.

    Raises:
        FleetError: If nothing answers, or the server refuses the credentials or is not ready.
    """

    def version(api: client.ApiClient) -> str:
        answer: Any = client.VersionApi(api).get_code(_preload_content=False, _request_timeout=timeout_s)
        return str(answer.data)

    if not access.checkable:
        return ""
    where = f"{_KEY}.kubeconfig (context {access.context}, {access.server})"
    try:
        return _ask(access, version)
    except client.ApiException as error:
        if error.status == 401:  # noqa: PLR2004  # HTTP's number
            problem = "refuses these credentials (HTTP 401): nothing was created. Renew the credentials in the kubeconfig."
        elif error.status >= 500:  # noqa: PLR2004  # any server error
            problem = f"answers HTTP {error.status}: it is not ready, nothing was created. Try again in a minute."
        elif error.status:
            return ""  # such as 403: it answers, and only withholds its version
        else:
            problem = _NO_ANSWER.format(" ".join(str(error.reason).split()))  # TLS
    except binascii.Error as error:
        fields = "certificate-authority-data, client-certificate-data or client-key-data"
        problem = _NO_ANSWER.format(f"{fields} is not base64: {error}")
    except (HTTPError, OSError, ValueError, config.ConfigException) as error:
        problem = _NO_ANSWER.format(error.__cause__ or error)
    raise FleetError(f"{where} {problem}")


def serves(access: Access, group: str, version: str) -> bool | None:
    """Return whether the cluster serves an API, such as ``metrics.k8s.io``; None if that can't be found out."""

    def resources(api: client.ApiClient) -> str:
        answer: Any = client.CustomObjectsApi(api).get_api_resources(group, version, _preload_content=False, _request_timeout=_TIMEOUT_S)
        return str(answer.data)

    if not access.checkable:
        return None
    try:
        _ask(access, resources)
    except client.ApiException as error:
        return False if error.status == 404 else None  # noqa: PLR2004  # HTTP's number
    except (binascii.Error, HTTPError, OSError, ValueError, config.ConfigException):
        return None
    return True


def _ask(access: Access, request: Callable[[client.ApiClient], str]) -> str:
    configuration = client.Configuration()
    configuration.retries = False
    with tempfile.TemporaryDirectory(prefix="triton-fleet-") as folder:  # for inline keys, which ssl takes from files only
        config.load_kube_config(  # type: ignore[no-untyped-call]  # the client annotates its API and not its loader
            access.files, access.context, client_configuration=configuration, persist_config=False, temp_file_path=folder
        )
        if urlsplit(access.server).hostname in {"localhost", "127.0.0.1", "::1"}:
            configuration.proxy = None  # as in Go's clients, and so kubectl: loopback never goes through a proxy
        with client.ApiClient(configuration) as api:
            return request(api)


def _sources(path: str | None, environ: Mapping[str, str]) -> list[Path]:
    if path is not None:
        return [Path(path).expanduser()]
    listed = [Path(part) for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return listed or [Path(environ.get("HOME", "~")).expanduser() / ".kube" / "config"]


def _parse(source: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise FleetError(f"{_KEY}.kubeconfig ({source}) can't be read ({reason}): no cluster is known. Fix or replace the file.") from None
    if not isinstance(content, dict):
        raise FleetError(f"{_KEY}.kubeconfig ({source}) is not a kubeconfig: no cluster is known. Fix or replace the file.")
    return content


def _entries(contents: Sequence[Mapping[str, Any]], kind: str) -> dict[str, Mapping[str, Any]]:
    """Entries of ``kind`` (``cluster``, ``context`` or ``user``) by name; the first of a name wins."""
    found: dict[str, Mapping[str, Any]] = {}
    for entry in (entry for content in contents for entry in content.get(f"{kind}s") or []):
        body = entry.get(kind) if isinstance(entry, dict) else None
        if isinstance(body, dict):
            found.setdefault(str(entry.get("name")), body)
    return found
