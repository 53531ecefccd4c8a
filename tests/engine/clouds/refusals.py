"""A cluster that refuses the workloads of each Helm release once: an install that fails in the middle, with other objects made already."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, Self

from local.plugins.kubernetes.errors import ApiError
from local.plugins.kubernetes.naming import Kind
from tests.engine.clouds.life import DEPLOYMENT
from tests.servers import eventually

if TYPE_CHECKING:
    from types import TracebackType

    from local.plugins.kubernetes.client import Client
    from tests.engine.clouds.fleet import Fleet

_POLICY: Final = Kind("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy")
_BINDING: Final = Kind("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicyBinding")
_NAME: Final = "refuse-releases.test"
_RELEASE: Final = "meta.helm.sh/release-name"
_SAID: Final = re.compile(r"release (\S+) is refused in this test")
_NOBODY: Final = "nobody"


class Refusals:
    """The policy.

    Attributes:
        refused: Names of the releases that were refused, in the order in which they said so.
    """

    def __init__(self, api: Client) -> None:
        self._api = api
        self.refused: list[str] = []

    def __enter__(self) -> Self:
        """Refuse all."""
        self._write()
        binding = {"policyName": _NAME, "validationActions": ["Deny"]}
        self._apply(_BINDING, binding)
        eventually(lambda: self._refuses(_NOBODY), "a policy that is in force")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Refuse nothing."""
        for what in (_BINDING, _POLICY):
            self._api.delete(what, "", _NAME, propagation="Background")
        eventually(lambda: not self._refuses(_NOBODY), "a policy that is gone")

    def mend(self, said: str) -> None:
        """Take those releases from now on that ``said`` tells of."""
        self.refused += sorted(set(_SAID.findall(said)) - set(self.refused))
        self._write()
        eventually(lambda: not any(map(self._refuses, self.refused)), f"a policy that takes {self.refused}")

    def _write(self) -> None:
        release = f"object.metadata.annotations['{_RELEASE}']"
        spec = {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["apps"],
                        "apiVersions": ["v1"],
                        "operations": ["CREATE"],
                        "resources": ["deployments", "daemonsets", "statefulsets"],
                    }
                ]
            },
            "validations": [
                {
                    "expression": f"!has(object.metadata.annotations) || !('{_RELEASE}' in object.metadata.annotations) "
                    f"|| {release} in {self.refused!r}",
                    "messageExpression": f"'release ' + {release} + ' is refused in this test'",
                }
            ],
        }
        self._apply(_POLICY, spec)

    def _apply(self, kind: Kind, spec: dict[str, Any]) -> None:
        body = {"apiVersion": f"{kind.group}/{kind.version}", "kind": kind.kind, "metadata": {"name": _NAME}, "spec": spec}
        self._api.apply(kind, body, manager="test", force=True)

    def _refuses(self, release: str) -> bool:
        """What the API server says now; it reads policies with some delay."""
        labels = {"app": "asked"}
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "asked", "namespace": "default", "annotations": {_RELEASE: release}},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "example.invalid/c:1"}]}},
            },
        }
        try:
            self._api.create(DEPLOYMENT, body, manager="test", dry_run=True)
        except ApiError as error:
            if not _SAID.search(str(error)):
                raise
            return True
        return False


def releases_with_pods(fleet: Fleet) -> list[str]:
    """Names of the stack's Helm releases that have a workload of their own: those that are refused."""
    state = [item["outputs"] for item in fleet.state() if item["type"] == "kubernetes:helm.sh/v3:Release"]
    return sorted(
        item["name"] for item in state if {"Deployment", "DaemonSet", "StatefulSet"} & {key.split(".")[0] for key in item["resourceNames"]}
    )
