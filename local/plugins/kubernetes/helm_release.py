"""`kubernetes:helm.sh/v3:Release`: a release installed by real Helm.

The state is the official provider's: the release's settings, `status`, `resourceNames`, and the inputs as a secret in `__inputs`. In
addition, the inputs have a checksum of a chart folder, so that an edited template is a change; and a label identifies the resource, so that
a partial release of a killed update can be continued.
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from local.plugins.kubernetes import diff, manifests, naming, paths
from local.plugins.kubernetes.helm_cli import (
    DEFAULT_TIMEOUT_S,
    Action,
    Helm,
    HelmError,
    Location,
    install_arguments,
    uninstall_arguments,
    upgrade_arguments,
)
from local.plugins.kubernetes.helm_inputs import OWNER_LABEL, action, chart_values, folder_checksum, location, owner
from local.plugins.kubernetes.helm_pods import PodWatch, release_reasons
from local.plugins.kubernetes.properties import UNKNOWN, Props, Secret, has_unknown, keep_secret, reveal, without_none
from local.plugins.kubernetes.provider import INPUTS, CheckResult, DiffResult, InitFailed, Provider, ProviderError, ReadResult

if TYPE_CHECKING:
    from collections.abc import Sequence

CHECKSUM = "checksum"  # a deprecated input of the official provider, which its diff ignores
_NOT_INPUTS = ("status", "resourceNames", "compat", "manifest")
_IDENTITY = tuple(paths.parse_path(name) for name in ("name", "namespace"))


@dataclass(frozen=True)
class Found:
    """A release in Helm's records."""

    name: str
    namespace: str
    status: str
    revision: int
    chart: str
    version: str
    app_version: str
    manifest: str
    labels: dict[str, str]
    values: dict[str, Any]

    @property
    def pending(self) -> bool:
        """Helm's last operation has not finished; it may have been killed."""
        return self.status.startswith("pending-") or self.status == "uninstalling"


class Releases:
    """A provider's Helm releases."""

    def __init__(self, provider: Provider, helm: Helm) -> None:
        self._provider = provider
        self._helm = helm
        self._versions: dict[Location, str] = {}

    # --- check and diff

    def check(self, urn: str, olds: Props, news: Props) -> CheckResult:
        """The inputs with name, namespace, timeout and the chart's exact version."""
        inputs = {key: value for key, value in news.items() if key not in _NOT_INPUTS and value is not None}
        if not inputs.get("name"):
            inputs["name"] = olds.get("name") or naming.unique_name(naming.urn_name(urn), b"")
        if not inputs.get("namespace"):
            inputs["namespace"] = self._provider.default_namespace
        if not inputs.get("skipAwait") and "timeout" not in inputs:
            inputs["timeout"] = DEFAULT_TIMEOUT_S
        if inputs.get("verify") is True and not inputs.get("keyring"):
            inputs["keyring"] = str(Path("~/.gnupg/pubring.gpg").expanduser())
        # Omit default values, so that the inputs equal those in a state of the official provider.
        for key in [key for key, value in inputs.items() if value is False or value in ("", {}, [])]:
            del inputs[key]
        if has_unknown(inputs.get("chart")) or has_unknown(inputs.get("version")) or has_unknown(inputs.get("repositoryOpts")):
            return CheckResult(inputs)
        where = location(inputs)
        try:
            inputs["version"] = self._chart_version(where)
            if where.folder is not None:
                inputs[CHECKSUM] = folder_checksum(where.folder)
        except (HelmError, OSError) as error:
            return CheckResult(inputs, (("chart", f"{error}; check the chart name and repository configuration."),))
        return CheckResult(inputs)

    def _chart_version(self, where: Location) -> str:
        if where.folder is not None:
            metadata = yaml.safe_load((where.folder / "Chart.yaml").read_text()) or {}
            return str(metadata.get("version", ""))
        if where not in self._versions:
            answer = self._helm.run(["show", "chart", *where.arguments()], timeout_s=120)
            self._versions[where] = str((yaml.safe_load(answer) or {}).get("version", ""))
        return self._versions[where]

    def diff(self, olds: Props, old_inputs: Props, news: Props, ignored: Sequence[str]) -> DiffResult:
        """The changes of an upgrade. Only a new name or namespace needs a new release."""
        recorded = reveal(old_inputs) or reveal(olds.get(INPUTS)) or {}
        old, new = (
            without_none({key: value for key, value in reveal(side).items() if key not in _NOT_INPUTS}) for side in (recorded, news)
        )
        if CHECKSUM not in old:  # a state of the official provider, which has none
            new.pop(CHECKSUM, None)
        details = diff.detailed(old, new, _IDENTITY, [paths.parse_path(path) for path in ignored])
        status = reveal(olds.get("status"))
        if isinstance(status, dict) and status.get("status") not in (None, "deployed") and not details:
            # Found by a refresh: a `helm rollback` or a failed upgrade. The next update deploys the program's release again.
            details = {("status",): diff.Difference(diff.Change.UPDATE)}
        return DiffResult(details)

    # --- the release itself

    def create(self, urn: str, news: Props, *, preview: bool) -> tuple[str, Props]:
        """Install a release and wait for it.

        Raises:
            ProviderError: It was not installed.
            InitFailed: It was installed but does not work.
        """
        if preview:
            return "", self._previewed(news)
        self._reach("create")
        what = action(news, urn)
        values = chart_values(news)
        try:
            found = self._find(what.name, what.namespace)
            if found is None or found.status == "uninstalled":
                self._run(urn, install_arguments(what, self._helm.major), values)
            else:
                self._take_up(urn, found, what, values)
            return f"{what.namespace}/{what.name}", self._state(news, self._expect(what))
        except HelmError as error:
            raise self._failure(urn, what, news, error, "was created, but failed to initialize completely") from error

    def _take_up(self, urn: str, found: Found, what: Action, values: dict[str, Any]) -> None:
        """Continue with a release of an interrupted or failed update of this resource."""
        if found.labels.get(OWNER_LABEL) != owner(urn):
            raise ProviderError(
                f"Helm release {found.namespace}/{found.name} (status {found.status}, revision {found.revision}) already exists and "
                "was not installed by this resource: cannot re-use a name that is still in use. "
                "Choose another name, `pulumi import` the release, or `helm uninstall` it"
            )
        self._provider.log.info(urn, f"continuing Helm release {found.name}, which an interrupted update left {found.status}")
        self._upgrade(urn, found, what, values)

    def _upgrade(self, urn: str, found: Found, what: Action, values: dict[str, Any]) -> None:
        if found.pending:
            found = self._unlock(urn, found, what)
        if found.status in ("gone", "uninstalled"):
            self._run(urn, install_arguments(what, self._helm.major), values)
        else:
            self._run(urn, upgrade_arguments(what, self._helm.major), values)

    def _unlock(self, urn: str, found: Found, what: Action) -> Found:
        """Repair a release that a killed Helm left pending: roll back to the last deployed revision, or uninstall it if there is none."""
        history = self._helm.query(["history", found.name, "--namespace", found.namespace]) or []
        deployed = [item["revision"] for item in history if item["status"] in ("deployed", "superseded")]
        self._provider.log.warning(urn, f"Helm release {found.name} was left {found.status} by an interrupted operation; repairing it")
        if deployed:
            self._run(
                urn, ["rollback", found.name, str(max(deployed)), "--namespace", found.namespace, "--timeout", f"{what.timeout_s}s"], None
            )
            return self._find(found.name, found.namespace) or found
        arguments = uninstall_arguments(found.name, found.namespace, wait=True, timeout_s=what.timeout_s, major=self._helm.major)
        self._run(urn, arguments, None)
        return Found(**{**found.__dict__, "status": "gone"})

    def update(self, urn: str, olds: Props, news: Props, *, preview: bool) -> Props:
        """Upgrade a release and wait for it.

        Raises:
            ProviderError: Nothing was changed.
            InitFailed: The release was upgraded but does not work, or was rolled back.
        """
        if preview:
            return self._previewed(news)
        self._reach("update")
        what = action(news, urn)
        values = chart_values(news)
        try:
            found = self._find(what.name, what.namespace)
            if found is None:
                self._provider.log.warning(
                    urn, f"Helm release {what.namespace}/{what.name} was uninstalled outside Pulumi; installing it again"
                )
                self._run(urn, install_arguments(what, self._helm.major), values)
            else:
                self._upgrade(urn, found, what, values)
            return self._state(news, self._expect(what))
        except HelmError as error:
            raise self._failure(urn, what, news, error, "failed to initialize completely") from error

    def read(self, resource_id: str, olds: Props, old_inputs: Props) -> ReadResult:
        """The current release; an empty result if it does not exist.

        Raises:
            ProviderError: Helm failed.
        """
        namespace, name = naming.parse_id(resource_id)
        self._reach("read")
        namespace = namespace or self._provider.default_namespace
        try:
            found = self._find(name, namespace)
        except HelmError as error:
            raise ProviderError(f"failed to read Helm release {resource_id}: {error}") from error
        if found is None or found.status == "uninstalled":
            return ReadResult()
        inputs = copy.deepcopy(old_inputs) if old_inputs else reveal(olds.get(INPUTS)) or _imported(found)
        if inputs.get("version") and found.version and not has_unknown(inputs["version"]):
            inputs["version"] = found.version  # upgraded outside Pulumi: the next update restores the version
        return ReadResult(resource_id, self._state(inputs, found), inputs)

    def delete(self, urn: str, resource_id: str, olds: Props) -> None:
        """Uninstall a release and wait until its objects are gone.

        Raises:
            ProviderError: It still exists.
        """
        if self._provider.client is None:
            raise ProviderError(f"can't delete Helm Release with unreachable cluster. Reason: {self._provider.unreachable!r}")
        plain = reveal(olds)
        namespace, name = naming.parse_id(resource_id)
        wait = bool(plain.get("atomic")) or not plain.get("skipAwait")
        timeout = int(plain.get("timeout") or DEFAULT_TIMEOUT_S)
        try:
            said = self._run(urn, uninstall_arguments(name, namespace, wait=wait, timeout_s=timeout, major=self._helm.major), None)
        except HelmError as error:
            raise ProviderError(f"Helm release {resource_id} was not uninstalled: {error}") from error
        kept = "\n".join(line for line in said.splitlines() if line.strip() and not line.startswith("release "))
        if kept:
            self._provider.log.info(urn, f"Helm uninstall returned information: {kept}")

    # --- parts

    def _reach(self, verb: str) -> None:
        if self._provider.client is None:
            raise ProviderError(f"can't {verb} Helm Release with unreachable cluster: {self._provider.unreachable}")

    def _run(self, urn: str, arguments: list[str], values: dict[str, Any] | None) -> str:
        watch = PodWatch(self._provider, urn, arguments[arguments.index("--namespace") + 1] if values is not None else "")
        try:
            return self._helm.run(arguments, values=values, progress=watch)
        except HelmError as error:
            if watch.troubles:
                # An atomic release deletes its pods: report the reasons that were seen before.
                raise HelmError(str(error) + "".join(f"\n  - {line}" for line in watch.troubles)) from error
            raise
        finally:
            self._provider.log.status(urn, "")

    def _find(self, name: str, namespace: str) -> Found | None:
        try:
            answer = self._helm.query(["status", name, "--namespace", namespace])
            metadata = self._helm.query(["get", "metadata", name, "--namespace", namespace])
        except HelmError as error:
            if "not found" in str(error):
                return None
            raise
        info, chart = answer.get("info") or {}, (answer.get("chart") or {}).get("metadata") or {}
        labels = {str(key): str(value) for key, value in (answer.get("labels") or metadata.get("labels") or {}).items()}
        return Found(
            name=str(answer.get("name") or name),
            namespace=str(answer.get("namespace") or namespace),
            status=str(info.get("status") or metadata.get("status") or ""),
            revision=int(answer.get("version") or metadata.get("revision") or 0),
            chart=str(metadata.get("chart") or chart.get("name") or ""),
            version=str(metadata.get("version") or chart.get("version") or ""),
            app_version=str(metadata.get("appVersion") or chart.get("appVersion") or ""),
            manifest=str(answer.get("manifest") or ""),
            labels=labels,
            values=answer.get("config") or {},
        )

    def _expect(self, what: Action) -> Found:
        found = self._find(what.name, what.namespace)
        if found is None:
            raise HelmError(f"release {what.namespace}/{what.name} does not exist although Helm reported success")
        return found

    def _failure(self, urn: str, what: Action, news: Props, error: HelmError, text: str) -> Exception:
        """The exception for a failed Helm: with the state if the release exists, and with its pods' reasons."""
        resource_id = f"{what.namespace}/{what.name}"
        try:
            found = self._find(what.name, what.namespace)
        except HelmError:
            found = None
        reasons = release_reasons(found.manifest, found.namespace, self._provider.client) if found else []
        listed = "".join(f"\n  - {reason}" for reason in reasons)
        if found is None or (found.labels.get(OWNER_LABEL) != owner(urn) and found.revision == 1):
            removed = what.atomic and not self._helm.cancelled.is_set()
            hint = " The release was removed again, because it is `atomic`." if removed else ""
            return ProviderError(f"Helm release {resource_id!r} was not installed: {error}.{hint}{listed}")
        return InitFailed(
            f"Helm release {resource_id!r} {text}. "
            f"Use Helm CLI to investigate (`helm status -n {what.namespace} {what.name}`): {error}{listed}",
            resource_id=resource_id,
            state=self._state(news, found),
            reasons=[str(error), *reasons],
        )

    @staticmethod
    def _state(inputs: Props, found: Found) -> Props:
        plain = reveal(inputs)
        state = {key: value for key, value in plain.items() if key not in (*_NOT_INPUTS, CHECKSUM)}
        state |= {
            "name": found.name,
            "namespace": found.namespace,
            "version": found.version or plain.get("version", ""),
            "resourceNames": manifests.resource_names(found.manifest),
            "status": {
                "name": found.name,
                "namespace": found.namespace,
                "revision": found.revision,
                "status": found.status,
                "chart": found.chart,
                "version": found.version,
                "appVersion": found.app_version,
            },
        }
        return {**keep_secret(state, inputs), INPUTS: Secret(plain)}

    @staticmethod
    def _previewed(news: Props) -> Props:
        shown = {key: value for key, value in news.items() if key != CHECKSUM}
        return {**shown, INPUTS: Secret(reveal(news)), "resourceNames": UNKNOWN, "status": UNKNOWN}


def _imported(found: Found) -> Props:
    """Inputs for a release that was not installed by Pulumi. Helm does not record a chart's source: the program must set it."""
    inputs: Props = {
        "name": found.name,
        "namespace": found.namespace,
        "chart": found.chart,
        "version": found.version,
        "timeout": DEFAULT_TIMEOUT_S,
    }
    if found.values:
        inputs["values"] = json.loads(json.dumps(found.values))
    return inputs
