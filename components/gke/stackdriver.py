"""The custom-metrics-stackdriver-adapter: serves Cloud Monitoring's metrics as external.metrics.k8s.io, which the HPA reads on GKE.

Declares the objects of Google's manifest ``adapter_new_resource_model.yaml`` one by one, so that a preview shows each, and the role without
which the adapter exits at once: ``roles/monitoring.viewer`` for its own service account, by Workload Identity and without a key.
Differences from the manifest:

- custom.metrics.k8s.io belongs to prometheus-adapter: its APIServices are left out unless the setting gives the API to this adapter (the
  settings then reject the other one). Two owners would keep taking an APIService from each other.
- No toleration of the GPU taint: the adapter would keep a costly GPU node from being removed.
- The first readiness probe comes after 5 s and not after 40: an early probe costs nothing, a late one delays every install.

It declares no metric and no HPA: ``serving/scaling.py`` writes the metric's name and selector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s

from components.base import naming
from components.gke.identity import principal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.base.handles import ClusterHandle, GcpAccess
    from components.gke.settings.stackdriver import StackdriverSettings

_APIS: Final = {"v1beta1.custom.metrics.k8s.io": 100, "v1beta2.custom.metrics.k8s.io": 200, "v1beta1.external.metrics.k8s.io": 100}
"""APIService -> its priority among the versions of its group."""
_NAME: Final = naming.STACKDRIVER_ADAPTER
_SPACE: Final = naming.STACKDRIVER_NAMESPACE
_PORT: Final = 443
"""The adapter's own choice. A private cluster's control plane reaches it without a firewall rule, unlike prometheus-adapter's 6443."""
_SELECTOR: Final = {"run": _NAME, "k8s-app": _NAME}
_LABELS: Final = {**_SELECTOR, **naming.labels("stackdriver-adapter", "stackdriver-adapter")}
_RBAC: Final = "rbac.authorization.k8s.io"


def deployment_spec(settings: StackdriverSettings) -> k8s.apps.v1.DeploymentSpecArgsDict:
    """Return the spec of the adapter's Deployment."""
    own_api = [] if settings.custom_metrics else ["--enable-custom-metrics-api=false"]
    resources = {"cpu": "250m", "memory": "200Mi"}
    container: k8s.core.v1.ContainerArgsDict = {
        "name": f"pod-{_NAME}",
        "image": settings.image,
        "image_pull_policy": "IfNotPresent",
        "command": ["/adapter", "--use-new-resource-model=true", "--fallback-for-container-metrics=true", *own_api],
        # The root file system can't be read-only: the adapter writes its certificate to it at startup.
        "security_context": {"allow_privilege_escalation": False},
        "resources": {"requests": resources, "limits": resources},
        "readiness_probe": {
            "http_get": {"path": "/healthz", "port": _PORT, "scheme": "HTTPS"},
            "initial_delay_seconds": 5,
            "period_seconds": 5,
            "timeout_seconds": 5,
        },
    }
    pod: k8s.core.v1.PodSpecArgsDict = {
        "service_account_name": _NAME,
        "security_context": {"seccomp_profile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return {"replicas": 1, "selector": {"match_labels": _SELECTOR}, "template": {"metadata": {"labels": _LABELS}, "spec": pod}}


def api_service_spec(name: str) -> k8s.apiregistration.v1.APIServiceSpecArgsDict:
    """Return the spec of the APIService ``name``. The adapter's certificate is self-signed, so it can't be verified."""
    version, _, group = name.partition(".")
    return {
        "group": group,
        "version": version,
        "group_priority_minimum": 100,
        "version_priority": _APIS[name],
        "insecure_skip_tls_verify": True,
        "service": {"name": _NAME, "namespace": _SPACE, "port": _PORT},
    }


@dataclass(frozen=True, kw_only=True)
class StackdriverAdapterArgs:
    """Arguments of `StackdriverAdapter`."""

    cluster: ClusterHandle
    access: GcpAccess
    settings: StackdriverSettings


class StackdriverAdapter(pulumi.ComponentResource):
    """Cloud Monitoring's metrics for autoscalers."""

    ready: pulumi.Output[str]
    """Name of the last APIService; resolves once the adapter is ready."""

    def __init__(self, name: str, args: StackdriverAdapterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "StackdriverAdapter"), name, None, opts)
        self._child = pulumi.ResourceOptions(parent=self, provider=args.cluster.provider)
        namespace = k8s.core.v1.Namespace(_SPACE, metadata=_metadata(_SPACE, None), opts=self._child)
        account = k8s.core.v1.ServiceAccount(_NAME, metadata=_metadata(_NAME, _SPACE), opts=self._after(namespace))
        deployment = k8s.apps.v1.Deployment(
            _NAME,
            metadata=_metadata(_NAME, _SPACE),
            spec=deployment_spec(args.settings),
            opts=self._after(account, *self._roles(account), self._grant(args.access)),
        )
        port: k8s.core.v1.ServicePortArgsDict = {"name": "https", "port": _PORT, "target_port": _PORT, "protocol": "TCP"}
        service = k8s.core.v1.Service(
            _NAME,
            metadata=_metadata(_NAME, _SPACE),
            spec={"type": "ClusterIP", "selector": _SELECTOR, "ports": [port]},
            # Last, because the engine waits until a Service has a ready pod.
            opts=self._after(deployment),
        )
        served = [
            # After the adapter, and so deleted before it: no namespace can be deleted while an APIService without a server is registered.
            k8s.apiregistration.v1.APIService(
                api, metadata=_metadata(api, None), spec=api_service_spec(api), opts=self._after(deployment, service)
            )
            for api in _APIS
            if args.settings.custom_metrics or "external" in api
        ]
        self.ready = pulumi.Output.all(*(api.metadata.name for api in served)).apply(lambda names: str(names[-1]))
        self.register_outputs({"apiService": self.ready})

    def _after(self, *resources: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=list(resources)))

    def _grant(self, access: GcpAccess) -> pulumi.Resource:
        """Let the adapter's service account read metrics, and nothing else in the project."""
        return gcp.projects.IAMMember(
            f"{_NAME}-viewer",
            project=access.project,
            role="roles/monitoring.viewer",
            member=principal(access, _SPACE, _NAME, pulumi.InvokeOutputOptions(parent=self, provider=access.gcp)),
            opts=pulumi.ResourceOptions(parent=self, provider=access.gcp),
        )

    def _roles(self, account: k8s.core.v1.ServiceAccount) -> Sequence[pulumi.Resource]:
        """Declare what an aggregated API needs from Kubernetes, and what the HPA needs from it."""
        adapter: k8s.rbac.v1.SubjectArgsDict = {"kind": "ServiceAccount", "name": _NAME, "namespace": _SPACE}
        autoscaler: k8s.rbac.v1.SubjectArgsDict = {**adapter, "name": "horizontal-pod-autoscaler", "namespace": naming.SYSTEM_NAMESPACE}
        pods = self._role("custom-metrics-resource-reader", "", ["pods", "nodes", "nodes/stats"])
        metrics = self._role("external-metrics-reader", "external.metrics.k8s.io", ["*"])
        return [
            self._binding("custom-metrics:system:auth-delegator", "system:auth-delegator", adapter, account),
            k8s.rbac.v1.RoleBinding(
                "custom-metrics-auth-reader",
                metadata=_metadata("custom-metrics-auth-reader", naming.SYSTEM_NAMESPACE),
                role_ref={"api_group": _RBAC, "kind": "Role", "name": "extension-apiserver-authentication-reader"},
                subjects=[adapter],
                opts=self._after(account),
            ),
            self._binding("custom-metrics-resource-reader", "custom-metrics-resource-reader", adapter, account, pods),
            self._binding("external-metrics-reader", "external-metrics-reader", autoscaler, metrics),
        ]

    def _role(self, name: str, group: str, resources: Sequence[str]) -> k8s.rbac.v1.ClusterRole:
        rule: k8s.rbac.v1.PolicyRuleArgsDict = {"api_groups": [group], "resources": resources, "verbs": ["get", "list", "watch"]}
        return k8s.rbac.v1.ClusterRole(name, metadata=_metadata(name, None), rules=[rule], opts=self._child)

    def _binding(
        self, name: str, role: str, subject: k8s.rbac.v1.SubjectArgsDict, *after: pulumi.Resource
    ) -> k8s.rbac.v1.ClusterRoleBinding:
        return k8s.rbac.v1.ClusterRoleBinding(
            name,
            metadata=_metadata(name, None),
            role_ref={"api_group": _RBAC, "kind": "ClusterRole", "name": role},
            subjects=[subject],
            opts=self._after(*after),
        )


def _metadata(name: str, namespace: str | None) -> k8s.meta.v1.ObjectMetaArgs:
    return k8s.meta.v1.ObjectMetaArgs(name=name, namespace=namespace, labels=_LABELS)
