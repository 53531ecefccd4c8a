"""Reading a kubeconfig as kubectl does, and asking the cluster that it names whether it answers.

Deliberately not the `kubernetes` client library: one GET is all that is asked here, and that library costs every run half a second.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import yaml

from components.base.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TIMEOUT_S: Final = 10.0
"""An API server that is up answers /version in milliseconds; ten seconds cover a slow VPN."""
_KEY: Final = "triton-fleet:cluster"
_START: Final = "Start it (make up) or fix the kubeconfig."


@dataclass(frozen=True, kw_only=True)
class Access:
    """One context of a kubeconfig: which cluster, as whom."""

    context: str
    server: str
    cluster: Mapping[str, Any]
    """The kubeconfig's ``cluster`` entry."""
    user: Mapping[str, Any]
    """The kubeconfig's ``user`` entry."""
    folder: Path
    """Where the file lies: relative paths inside it start there."""

    @property
    def needs_program(self) -> bool:
        """Whether credentials come from a program (``aws eks get-token``, ``gke-gcloud-auth-plugin``) that only a full client runs."""
        return "exec" in self.user or "auth-provider" in self.user


def read(path: str | None, context: str | None, environ: Mapping[str, str] | None = None) -> Access:
    """Find the context that is used.

    Args:
        path: A kubeconfig file; None means those of KUBECONFIG (several are merged, the first to name a thing wins), else ~/.kube/config.
        context: Its context; None means the current one.
        environ: Environment, for tests.

    Raises:
        FleetError: When there is no such file or context, or when it can't be read.
    """
    environ = os.environ if environ is None else environ
    sources = _sources(path, environ)
    origin = os.pathsep.join(map(str, sources))
    merged: dict[str, dict[str, tuple[Mapping[str, Any], Path]]] = {"contexts": {}, "clusters": {}, "users": {}}
    current = None
    present = [source for source in sources if source.is_file()]
    if not present:
        raise FleetError(
            f"{_KEY}.kubeconfig ({origin}) is no file: there is no cluster to build on, nothing was created. "
            'Run `eval "$(make -s env)"` for the embedded one, set KUBECONFIG, or name the file in the stack.'
        )
    for source in present:
        content = _parse(source)
        current = current or content.get("current-context")
        for section, entries in merged.items():
            for entry in content.get(section) or []:
                body = entry.get(section.removesuffix("s")) if isinstance(entry, dict) else None
                if isinstance(body, dict):
                    entries.setdefault(str(entry.get("name")), (body, source.parent))
    chosen = context or current
    if not chosen:
        raise FleetError(f"{_KEY}.context is missing and {origin} has no current-context: no cluster is meant. Set cluster.context.")
    if chosen not in merged["contexts"]:
        known = ", ".join(sorted(merged["contexts"])) or "none"
        raise FleetError(f"{_KEY}.context ({chosen}) is not in {origin}: no cluster is meant. Contexts there: {known}.")
    body, folder = merged["contexts"][chosen]
    cluster, cluster_folder = merged["clusters"].get(str(body.get("cluster")), ({}, folder))
    user, _ = merged["users"].get(str(body.get("user")), ({}, folder))
    server = str(cluster.get("server", ""))
    if not urlsplit(server).hostname:
        raise FleetError(f"{_KEY}.context ({chosen}) names no server in {origin}: no cluster is meant. Fix the kubeconfig.")
    return Access(context=chosen, server=server, cluster=cluster, user=user, folder=cluster_folder)


def check_answers(access: Access, timeout_s: float = _TIMEOUT_S) -> None:
    """Ask the API server for its version, so that a dead cluster is told before anything is created.

    Contexts whose credentials come from a program, or that go through a proxy of their own, are not asked: the provider will.

    Raises:
        FleetError: When nothing answers, or when what answers refuses these credentials.
    """
    if access.needs_program or "proxy-url" in access.cluster:
        return
    where = f"{_KEY}.kubeconfig (context {access.context}, {access.server})"
    try:
        _get_version(access, timeout_s)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 401:  # noqa: PLR2004  # HTTP's own number; 403 on /version is a cluster that answers
                raise FleetError(
                    f"{where} refuses these credentials (HTTP 401): nothing was created. Renew the credentials in the kubeconfig."
                ) from None
            if error.code >= 500:  # noqa: PLR2004  # any server error
                raise FleetError(
                    f"{where} answers HTTP {error.code}: it is not ready, nothing was created. Try again in a minute."
                ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise FleetError(f"{where} does not answer ({reason}): nothing was created. {_START}") from None


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
        raise FleetError(f"{_KEY}.kubeconfig ({source}) is no kubeconfig: no cluster is known. Fix or replace the file.")
    return content


def _get_version(access: Access, timeout_s: float) -> None:
    headers = {"Accept": "application/json"}
    token = access.user.get("token")
    if token is None and "tokenFile" in access.user:
        token = (access.folder / str(access.user["tokenFile"])).read_text(encoding="utf-8").strip()
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    elif "username" in access.user:
        pair = f"{access.user['username']}:{access.user.get('password', '')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    url = f"{access.server.rstrip('/')}/version"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  # http: and https: only, as the handlers below
    with _tls(access) as context:
        handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
        if (urlsplit(access.server).hostname or "") in {"localhost", "127.0.0.1", "::1"}:
            handlers.append(urllib.request.ProxyHandler({}))  # as Go's clients, and so kubectl: loopback never goes through a proxy
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout_s) as response:
            response.read(1)


@contextmanager
def _tls(access: Access) -> Iterator[ssl.SSLContext]:
    """TLS context with the kubeconfig's authority and client certificate.

    ssl takes those from files only: inline ones lie in a private temporary folder for as long as the request takes.
    """
    context = ssl.create_default_context()
    with tempfile.TemporaryDirectory(prefix="triton-fleet-") as folder:

        def file_of(entry: Mapping[str, Any], key: str) -> str | None:
            if f"{key}-data" in entry:
                path = Path(folder) / key
                try:
                    data = base64.b64decode(str(entry[f"{key}-data"]), validate=False)
                except binascii.Error:
                    raise ValueError(f"{key}-data is not base64") from None
                path.touch(mode=0o600)
                path.write_bytes(data)
                return str(path)
            return str(access.folder / str(entry[key])) if key in entry else None

        authority = file_of(access.cluster, "certificate-authority")
        if access.cluster.get("insecure-skip-tls-verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif authority is not None:
            context = ssl.create_default_context(cafile=authority)
        certificate = file_of(access.user, "client-certificate")
        if certificate is not None:
            context.load_cert_chain(certificate, file_of(access.user, "client-key"))
        if "tls-server-name" in access.cluster:
            context.check_hostname = False  # the name to check is another than the host's; the chain is still verified
        yield context
