"""Read a kubeconfig: the cluster's address and the user's credentials.

Reads a path, a list of paths (as in KUBECONFIG) or the contents, and merges like kubectl: the first file that defines a name wins. Supports
client certificates, tokens, basic authentication and exec plugins (`aws eks get-token`, `gke-gcloud-auth-plugin`), but not the
auth-provider stanzas that Kubernetes removed in 1.26.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

_EXEC_TIMEOUT_S = 60.0
_EXPIRY_MARGIN = timedelta(seconds=30)


class KubeconfigError(Exception):
    """The kubeconfig is invalid; the message says what is wrong and where."""


@dataclass(frozen=True)
class Credentials:
    """Credentials of a request: a client certificate (PEM) or an `Authorization` header."""

    certificate: bytes | None = None
    key: bytes | None = None
    authorization: str | None = None


@dataclass(frozen=True)
class ExecPlugin:
    """A program that provides credentials (client.authentication.k8s.io)."""

    command: str
    args: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    api_version: str
    install_hint: str
    folder: Path | None

    def run(self) -> tuple[Credentials, datetime | None]:
        """New credentials and their expiry (None if unknown).

        Raises:
            KubeconfigError: The program is missing, fails, or returns something else.
        """
        request = {"apiVersion": self.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
        environment = {**os.environ, **dict(self.env), "KUBERNETES_EXEC_INFO": json.dumps(request)}
        command = str(self.folder / self.command) if self.folder and "/" in self.command else self.command
        try:
            done = subprocess.run(
                [command, *self.args], env=environment, capture_output=True, check=True, timeout=_EXEC_TIMEOUT_S, stdin=subprocess.DEVNULL
            )
            status = json.loads(done.stdout)["status"]
        except FileNotFoundError as error:
            raise KubeconfigError(f"the kubeconfig's credential program {command!r} was not found. {self.install_hint}".strip()) from error
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip()
            raise KubeconfigError(
                f"the kubeconfig's credential program {command!r} failed with exit code {error.returncode}: {said}"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise KubeconfigError(f"the kubeconfig's credential program {command!r} did not finish in {_EXEC_TIMEOUT_S:.0f} s") from error
        except (ValueError, KeyError, TypeError) as error:
            raise KubeconfigError(f"the kubeconfig's credential program {command!r} returned no ExecCredential") from error
        until = status.get("expirationTimestamp")
        certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
        credentials = Credentials(
            certificate.encode() if certificate else None,
            key.encode() if key else None,
            f"Bearer {status['token']}" if status.get("token") else None,
        )
        return credentials, datetime.fromisoformat(until) if until else None


@dataclass
class Access:
    """A cluster with one user's credentials."""

    server: str
    namespace: str
    ca: bytes | None = None
    insecure: bool = False
    tls_server_name: str | None = None
    proxy: str | None = None
    fixed: Credentials = field(default_factory=Credentials)
    token_file: Path | None = None
    plugin: ExecPlugin | None = None
    _cached: tuple[Credentials, datetime | None] | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def credentials(self) -> Credentials:
        """Valid credentials.

        Raises:
            KubeconfigError: They are unavailable.
        """
        if self.token_file is not None:
            try:
                return Credentials(authorization=f"Bearer {self.token_file.read_text().strip()}")
            except OSError as error:
                raise KubeconfigError(f"the kubeconfig's tokenFile can't be read: {error}") from error
        if self.plugin is None:
            return self.fixed
        with self._lock:
            if self._cached is None or (self._cached[1] is not None and self._cached[1] - _EXPIRY_MARGIN < datetime.now(UTC)):
                self._cached = self.plugin.run()
            return self._cached[0]

    def forget(self) -> None:
        """Clear cached credentials that the server refused."""
        with self._lock:
            self._cached = None


def paths_from(text: str) -> list[Path]:
    """The files in a `kubeconfig` setting; empty if the setting is the contents."""
    if "\n" in text or text.lstrip().startswith("{"):
        return []
    return [Path(part).expanduser() for part in text.split(os.pathsep) if part]


def default_paths() -> list[Path]:
    """The default paths of kubectl."""
    return paths_from(os.environ.get("KUBECONFIG", "")) or [Path("~/.kube/config").expanduser()]


def read(setting: str | None) -> dict[str, Any]:
    """The merged kubeconfig.

    Args:
        setting: The provider's `kubeconfig`: contents, path or list of paths; None or empty for kubectl's default.

    Raises:
        KubeconfigError: A file is invalid, or none exists.
    """
    if setting and not paths_from(setting):
        return _parse(setting, "the kubeconfig contents", None)
    paths = paths_from(setting) if setting else default_paths()
    merged: dict[str, Any] = {"clusters": [], "contexts": [], "users": []}
    found = False
    for path in paths:
        try:
            text = path.read_text()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise KubeconfigError(f"kubeconfig {path} can't be read: {error.strerror}") from error
        found = True
        config = _parse(text, f"kubeconfig {path}", path.parent.absolute())
        for section in ("clusters", "contexts", "users"):
            known = {item.get("name") for item in merged[section]}
            merged[section] += [item for item in config.get(section) or [] if item.get("name") not in known]
        if "current-context" not in merged and config.get("current-context"):
            merged["current-context"] = config["current-context"]
    if not found:
        names = ", ".join(map(str, paths))
        raise KubeconfigError(
            f"no kubeconfig at {names}. Set KUBECONFIG or the provider's `kubeconfig`, or start the cluster that writes it"
        )
    return merged


def _parse(text: str, what: str, folder: Path | None) -> dict[str, Any]:
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise KubeconfigError(f"{what}: not YAML: {error}") from error
    if not isinstance(config, dict):
        raise KubeconfigError(f"{what}: not a kubeconfig (it must be a mapping with clusters, users and contexts)")
    for section in ("clusters", "users", "contexts"):
        for item in config.get(section) or []:
            if isinstance(item, dict):
                item["_folder"] = folder
    return config


def access(config: dict[str, Any], *, context: str = "", cluster: str = "", namespace: str = "") -> Access:
    """The cluster and credentials of a context.

    Args:
        config: The result of `read`.
        context: The context's name; the current one if empty.
        cluster: Overrides the context's cluster.
        namespace: Overrides the context's namespace.

    Raises:
        KubeconfigError: A name is not defined, or a file can't be read.
    """
    name = context or config.get("current-context") or ""
    if not name:
        raise KubeconfigError("the kubeconfig has no current-context, and the provider's `context` is not set")
    chosen = _named(config, "contexts", name, "context")
    cluster_name = cluster or chosen.get("cluster", "")
    where = _named(config, "clusters", cluster_name, "cluster")
    who = _named(config, "users", chosen["user"], "user") if chosen.get("user") else {}
    server = where.get("server")
    if not server:
        raise KubeconfigError(f"kubeconfig cluster {cluster_name!r} has no server")
    return Access(
        server=server.rstrip("/"),
        namespace=namespace or chosen.get("namespace") or "default",
        ca=_data(where, "certificate-authority"),
        insecure=bool(where.get("insecure-skip-tls-verify")),
        tls_server_name=where.get("tls-server-name"),
        proxy=where.get("proxy-url"),
        fixed=_credentials(who),
        token_file=_path(who, who["tokenFile"]) if who.get("tokenFile") else None,
        plugin=_plugin(who),
    )


def _named(config: dict[str, Any], section: str, name: str, key: str) -> dict[str, Any]:
    for item in config.get(section) or []:
        if item.get("name") == name:
            return {**(item.get(key) or {}), "_folder": item.get("_folder")}
    known = ", ".join(repr(item.get("name")) for item in config.get(section) or []) or "none"
    raise KubeconfigError(f"the kubeconfig has no {key} {name!r}; it has: {known}")


def _path(item: dict[str, Any], text: str) -> Path:
    path = Path(text).expanduser()
    return path if path.is_absolute() or item.get("_folder") is None else item["_folder"] / path


def _data(item: dict[str, Any], key: str) -> bytes | None:
    inline = item.get(f"{key}-data")
    if inline:
        try:
            return base64.b64decode(inline, validate=True)
        except binascii.Error as error:
            raise KubeconfigError(f"the kubeconfig's {key}-data is not base64: {error}") from error
    if item.get(key):
        try:
            return _path(item, item[key]).read_bytes()
        except OSError as error:
            raise KubeconfigError(f"the kubeconfig's {key} can't be read: {error}") from error
    return None


def _credentials(who: dict[str, Any]) -> Credentials:
    authorization = None
    if who.get("token"):
        authorization = f"Bearer {who['token']}"
    elif who.get("username"):
        pair = f"{who['username']}:{who.get('password', '')}".encode()
        authorization = f"Basic {base64.b64encode(pair).decode()}"
    return Credentials(_data(who, "client-certificate"), _data(who, "client-key"), authorization)


def _plugin(who: dict[str, Any]) -> ExecPlugin | None:
    spec = who.get("exec")
    if not spec:
        return None
    return ExecPlugin(
        command=spec.get("command", ""),
        args=tuple(spec.get("args") or ()),
        env=tuple((item["name"], item["value"]) for item in spec.get("env") or ()),
        api_version=spec.get("apiVersion", "client.authentication.k8s.io/v1"),
        install_hint=spec.get("installHint") or "",
        folder=who.get("_folder"),
    )
