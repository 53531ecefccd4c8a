"""Run the `helm` program, and compute its arguments.

Supports Helm 3 and Helm 4, which differ in the names of a few flags. Values are passed through stdin, so that secrets are never on a
command line or in a file.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local.plugins.kubernetes import manifests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from local.plugins.kubernetes.config import Config

DEFAULT_TIMEOUT_S = 300
_TERM_GRACE_S = 20.0  # after SIGTERM Helm marks the release as failed, which takes time
_QUERY_TIMEOUT_S = 120.0
_HELM_4 = 4
# Helm must not outlive a killed update: a Python process sets PR_SET_PDEATHSIG with prctl(2) and then executes Helm. A preexec_fn was
# rejected: it runs between fork and exec in a copy of a process with gRPC's threads, where it crashed.
_DIE_WITH_PARENT = (
    "import ctypes, os, sys; "
    "getattr(ctypes.CDLL(None), 'prctl', lambda *_: 0)(1, int(sys.argv[1])); "  # macOS has no prctl
    "os.execv(sys.argv[2], sys.argv[2:])"
)


class HelmError(Exception):
    """Helm failed; the message is Helm's."""


@dataclass(frozen=True)
class Location:
    """A chart's source."""

    chart: str
    version: str = ""
    repo: str = ""
    devel: bool = False
    verify: bool = False
    keyring: str = ""
    username: str = ""
    password: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    plain_http: bool = False
    dependency_update: bool = False

    @property
    def folder(self) -> Path | None:
        """The chart's folder, if it is a local folder."""
        path = Path(self.chart)
        return path if not self.repo and (path / "Chart.yaml").is_file() else None

    @property
    def archive(self) -> Path | None:
        """The chart's archive, if it is a local file."""
        path = Path(self.chart)
        return path if not self.repo and path.is_file() else None

    def arguments(self) -> list[str]:
        """Arguments that select the chart. Helm accepts a repository's password only as an argument."""
        args = [self.chart]
        for flag, value in (
            ("--version", self.version if self.folder is None and self.archive is None else ""),
            ("--repo", self.repo),
            ("--keyring", self.keyring if self.verify else ""),
            ("--username", self.username),
            ("--password", self.password),
            ("--ca-file", self.ca_file),
            ("--cert-file", self.cert_file),
            ("--key-file", self.key_file),
        ):
            if value:
                args += [flag, value]
        for flag, on in (("--devel", self.devel and not self.version), ("--verify", self.verify), ("--plain-http", self.plain_http)):
            if on:
                args.append(flag)
        return args


@dataclass(frozen=True)
class Action:
    """Options of install and upgrade."""

    name: str
    namespace: str
    where: Location
    timeout_s: int = DEFAULT_TIMEOUT_S
    wait: bool = True
    wait_for_jobs: bool = False
    atomic: bool = False
    skip_crds: bool = False
    no_hooks: bool = False
    create_namespace: bool = False
    description: str = ""
    render_subchart_notes: bool = False
    disable_openapi_validation: bool = False
    replace: bool = False
    take_ownership: bool = False
    postrender: str = ""
    force: bool = False
    reset_values: bool = False
    reuse_values: bool = False
    cleanup_on_fail: bool = False
    max_history: int | None = None
    labels: tuple[tuple[str, str], ...] = ()


def install_arguments(action: Action, major: int) -> list[str]:
    """Arguments of `helm install`."""
    args = ["install", action.name, *action.where.arguments(), *_common(action, major)]
    return args + (["--replace"] if action.replace else [])


def upgrade_arguments(action: Action, major: int) -> list[str]:
    """Arguments of `helm upgrade`."""
    args = ["upgrade", action.name, *action.where.arguments(), *_common(action, major)]
    for flag, on in (
        ("--force-replace" if major >= _HELM_4 else "--force", action.force),
        ("--reset-values", action.reset_values),
        ("--reuse-values", action.reuse_values and not action.reset_values),
        ("--cleanup-on-fail", action.cleanup_on_fail),
    ):
        if on:
            args.append(flag)
    # Like the official provider, keep every revision by default (Helm's default is 10).
    return [*args, "--history-max", str(action.max_history or 0)]


def _common(action: Action, major: int) -> list[str]:
    args = ["--namespace", action.namespace, "--timeout", f"{action.timeout_s}s", "--output", "json", "--values", "-"]
    if action.atomic:
        args.append("--rollback-on-failure" if major >= _HELM_4 else "--atomic")
    if action.wait or action.atomic:
        args.append("--wait=watcher" if major >= _HELM_4 else "--wait")
        if action.wait_for_jobs:
            args.append("--wait-for-jobs")
    for flag, on in (
        ("--skip-crds", action.skip_crds),
        ("--no-hooks", action.no_hooks),
        ("--create-namespace", action.create_namespace),
        ("--render-subchart-notes", action.render_subchart_notes),
        ("--disable-openapi-validation", action.disable_openapi_validation),
        ("--take-ownership", action.take_ownership),
        ("--dependency-update", action.where.dependency_update),
    ):
        if on:
            args.append(flag)
    if action.description:
        args += ["--description", action.description]
    if action.postrender:
        args += ["--post-renderer", action.postrender]
    if action.labels:
        args += ["--labels", ",".join(f"{key}={value}" for key, value in action.labels)]
    return args


def uninstall_arguments(name: str, namespace: str, *, wait: bool, timeout_s: int, major: int) -> list[str]:
    """Arguments of `helm uninstall`, which ignores a release that does not exist."""
    args = ["uninstall", name, "--namespace", namespace, "--ignore-not-found"]
    if wait:
        args += ["--wait=watcher" if major >= _HELM_4 else "--wait", "--timeout", f"{timeout_s}s"]
    return args


def template_arguments(
    name: str, namespace: str, where: Location, *, include_crds: bool, kube_version: str, api_versions: Sequence[str], online: bool
) -> list[str]:
    """Arguments of `helm template` for `helm.v4.Chart`: without hooks and the cluster's schema.

    Args:
        name: The release's name in the templates.
        namespace: The release's namespace in the templates.
        where: The chart.
        include_crds: Whether to include the chart's `crds/`.
        kube_version: `.Capabilities.KubeVersion`; Helm's default if empty.
        api_versions: `.Capabilities.APIVersions`, added to Helm's own list.
        online: Let Helm query the cluster for `lookup`. Helm then rejects objects of kinds that do not exist yet.
    """
    args = ["template", name, *where.arguments(), "--no-hooks", "--values", "-"]
    if namespace:
        args += ["--namespace", namespace]
    if include_crds:
        args.append("--include-crds")
    if where.dependency_update:
        args.append("--dependency-update")
    if kube_version:
        args += ["--kube-version", kube_version]
    if api_versions:
        args += ["--api-versions", ",".join(api_versions)]
    # Nothing is installed, so it does not matter that the objects of an earlier run are not Helm's own.
    return [*args, *(("--dry-run=server", "--take-ownership") if online else ("--dry-run=client",))]


@dataclass
class Helm:
    """Runs `helm` for the provider's cluster."""

    config: Config
    cancelled: threading.Event = field(default_factory=threading.Event)
    _program: str | None = None
    _major: int | None = None
    _kubeconfig: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def program(self) -> str:
        """The program's path.

        Raises:
            HelmError: Helm is not on PATH.
        """
        if self._program is None:
            found = shutil.which("helm")
            if found is None:
                raise HelmError(
                    '`helm` is not on PATH: charts can\'t be rendered or released. Install Helm 4, or run `eval "$(make -s env)"` first'
                )
            self._program = found
        return self._program

    @property
    def major(self) -> int:
        """Helm's major version."""
        if self._major is None:
            answer = self.run(["version", "--template", "{{.Version}}"], timeout_s=_QUERY_TIMEOUT_S, cancellable=False)
            match = re.search(r"v(\d+)\.", answer)
            self._major = int(match.group(1)) if match else _HELM_4
        return self._major

    def environment(self) -> dict[str, str]:
        """Environment variables with the cluster and Helm's settings."""
        settings = self.config.helm
        env = {**os.environ, "HELM_DRIVER": settings.driver}
        wanted = (
            ("HELM_PLUGINS", settings.plugins_path),
            ("HELM_REGISTRY_CONFIG", settings.registry_config_path),
            ("HELM_REPOSITORY_CONFIG", settings.repository_config_path),
            ("HELM_REPOSITORY_CACHE", settings.repository_cache),
            ("HELM_KUBECONTEXT", self.config.context),
            ("KUBECONFIG", self._kubeconfig_path()),
        )
        return env | {key: value for key, value in wanted if value}

    def _kubeconfig_path(self) -> str:
        from local.plugins.kubernetes.kubeconfig import paths_from  # noqa: PLC0415

        text = self.config.kubeconfig
        if not text or paths_from(text):
            return os.pathsep.join(map(str, paths_from(text)))
        with self._lock:
            if self._kubeconfig is None:
                # The setting is the content, but Helm needs a file. Its mode is 0600, and `close` deletes it.
                handle, self._kubeconfig = tempfile.mkstemp(prefix="pulumi-kubernetes-", suffix=".kubeconfig")
                with os.fdopen(handle, "w") as file:
                    file.write(text)
            return self._kubeconfig

    def close(self) -> None:
        """Delete the file that `environment` wrote."""
        with self._lock:
            if self._kubeconfig is not None:
                Path(self._kubeconfig).unlink(missing_ok=True)
                self._kubeconfig = None

    def run(
        self,
        arguments: Sequence[str],
        *,
        values: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        progress: Callable[[str], None] | None = None,
        cancellable: bool = True,
    ) -> str:
        """Run Helm and return its output.

        Args:
            arguments: The command and its arguments.
            values: Chart values, passed as the file `-`.
            timeout_s: Time limit for commands without their own limit.
            progress: Called about once per second while Helm runs.
            cancellable: Whether Ctrl-C ends it. Queries continue, because the state depends on their result.

        Raises:
            HelmError: Helm failed, was cancelled, or exceeded the time limit.
        """
        process = subprocess.Popen(
            [*_dying_with_parent(arguments[0]), self.program, *arguments],
            stdin=subprocess.PIPE if values is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(),
            start_new_session=True,
        )
        # JSON is valid YAML, without YAML's surprises for strings such as "no" or "1e3".
        sent = manifests.dump(values).encode() if values is not None else None
        done: list[tuple[bytes, bytes]] = []
        talker = threading.Thread(target=lambda: done.append(process.communicate(sent)), daemon=True)
        talker.start()
        started = time.monotonic()
        stopped = ""
        while talker.is_alive():
            talker.join(0.05 if time.monotonic() - started < 1 else 0.5)
            if cancellable and self.cancelled.is_set():
                stopped = "cancelled"
            elif timeout_s is not None and time.monotonic() - started > timeout_s:
                stopped = f"still running after {timeout_s:.0f} s"
            if stopped:
                _stop(process, talker, arguments[0])
                break
            if progress is not None:
                progress(f"{arguments[0]}: {time.monotonic() - started:.0f} s")
        talker.join()
        out, err = done[0] if done else (b"", b"")
        if stopped:
            raise HelmError(f"helm {arguments[0]}: {stopped}")
        if process.returncode:
            raise HelmError(_said(err.decode(errors="replace")) or f"helm {arguments[0]} failed with exit code {process.returncode}")
        return out.decode()

    def query(self, arguments: Sequence[str]) -> Any:
        """Run a query and parse its JSON."""
        return json.loads(self.run([*arguments, "--output", "json"], timeout_s=_QUERY_TIMEOUT_S, cancellable=False) or "null")


def _ending(command: str) -> signal.Signals:
    """The signal that stops Helm.

    An install is killed at once: on SIGTERM, Helm deletes objects while it still creates others, and forgets the release. What a killed
    install leaves is in the release's record, for the next update, a destroy, or `make up` (local/cli/releases.py).
    """
    return signal.SIGKILL if command == "install" else signal.SIGTERM


def _dying_with_parent(command: str) -> tuple[str, ...]:
    """The command that runs Helm so that it ends with its parent process."""
    return (sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(int(_ending(command))))


def _stop(process: subprocess.Popen[bytes], talker: threading.Thread, command: str) -> None:
    process.send_signal(_ending(command))
    talker.join(_TERM_GRACE_S)
    if talker.is_alive():
        process.kill()
        talker.join()


_NOISE = re.compile(r"^(level=|WARNING:|I\d{4} |W\d{4} |time=)")


def _said(text: str) -> str:
    """Helm's error without the log lines around it."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    errors = [line.removeprefix("Error: ") for line in lines if line.startswith("Error: ")]
    if errors:
        start = next(i for i, line in enumerate(lines) if line.startswith("Error: "))
        return "\n".join(line.removeprefix("Error: ") for line in lines[start:])
    return "\n".join(line for line in lines if not _NOISE.match(line)) or "\n".join(lines)
