"""The custom-metrics-stackdriver-adapter: Cloud Monitoring's metrics as external.metrics.k8s.io, which the HPA reads on GKE.

Makes the objects of Google's manifest ``adapter_new_resource_model.yaml`` one by one, so that a preview shows each, and the grant without
which the adapter ends at once: ``roles/monitoring.viewer`` for its own service account, by Workload Identity and without a key. Where it
differs from the manifest:

- custom.metrics.k8s.io is prometheus-adapter's: its APIServices are left out and the adapter is told so, unless the setting gives the API
  to this adapter (and the settings then refuse the other). Two owners of an APIService take it from each other.
- No toleration of the GPU taint: on a GPU node the adapter would hold a node that costs, and keep it from going.
- It is looked at after 5 s and not after 40: a look that comes early costs nothing, a late one holds up every install.

Makes no metric and no HPA: ``serving/scaling.py`` writes the name and the selector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s

from components.base import naming
from components.base.handles import CustomMetricsHandle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.base.handles import ClusterHandle, GcpAccess
    from components.gke.settings.stackdriver import StackdriverSettings

ROLE: Final = "roles/monitoring.viewer"
EXTERNAL: Final = ("v1beta1.external.metrics.k8s.io",)
CUSTOM: Final = ("v1beta1.custom.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io")
_PORT: Final = 443
"""The adapter's own. The control plane of a private cluster reaches it without a firewall rule, unlike prometheus-adapter's 6443."""
_LABELS: Final = {"run": naming.STACKDRIVER_ADAPTER, "k8s-app": naming.STACKDRIVER_ADAPTER}
_VERSION_PRIORITY: Final = {"v1beta1": 100, "v1beta2": 200}
_COMPONENT: Final = "stackdriver-adapter"


def api_services(settings: StackdriverSettings) -> tuple[str, ...]:
    """Say which APIServices the adapter serves."""
    return (*CUSTOM, *EXTERNAL) if settings.custom_metrics else EXTERNAL


def adapter_command(settings: StackdriverSettings) -> list[str]:
    """Decide the adapter's command line."""
    own = [] if settings.custom_metrics else ["--enable-custom-metrics-api=false"]
    return ["/adapter", "--use-new-resource-model=true", "--fallback-for-container-metrics=true", *own]


def deployment_spec(settings: StackdriverSettings) -> dict[str, Any]:
    """Decide ``spec`` of the adapter's Deployment."""
    return {
        "replicas": 1,
        "selector": {"matchLabels": _LABELS},
        "template": {
            "metadata": {"labels": {**_LABELS, **naming.labels(_COMPONENT, _COMPONENT)}},
            "spec": {
                "serviceAccountName": naming.STACKDRIVER_ADAPTER,
                "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    {
                        "name": f"pod-{naming.STACKDRIVER_ADAPTER}",
                        "image": settings.image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": adapter_command(settings),
                        # Not a read-only root: the adapter writes a certificate of its own there when it starts.
                        "securityContext": {"allowPrivilegeEscalation": False},
                        "resources": {
                            "requests": {"cpu": "250m", "memory": "200Mi"},
                            "limits": {"cpu": "250m", "memory": "200Mi"},
                        },
                        "readinessProbe": {
                            "httpGet": {"path": "/healthz", "port": _PORT, "scheme": "HTTPS"},
                            "initialDelaySeconds": 5,
                            "periodSeconds": 5,
                            "timeoutSeconds": 5,
                        },
                    }
                ],
            },
        },
    }


def api_service_spec(name: str) -> dict[str, Any]:
    """Decide ``spec`` of the APIService ``name``. The adapter's certificate is its own, so nobody could verify it."""
    version, _, group = name.partition(".")
    return {
        "group": group,
        "version": version,
        "groupPriorityMinimum": 100,
        "versionPriority": _VERSION_PRIORITY[version],
        "insecureSkipTLSVerify": True,
        "service": {"name": naming.STACKDRIVER_ADAPTER, "namespace": naming.STACKDRIVER_NAMESPACE, "port": _PORT},
    }


def principal(project_number: str, workload_pool: str) -> str:
    """Name the adapter's Kubernetes service account as IAM has it: by the project's number, then the pool, which is named by its id."""
    return (
        f"principal://iam.googleapis.com/projects/{project_number}/locations/global/workloadIdentityPools/{workload_pool}"
        f"/subject/ns/{naming.STACKDRIVER_NAMESPACE}/sa/{naming.STACKDRIVER_ADAPTER}"
    )


@dataclass(frozen=True, kw_only=True)
class StackdriverAdapterArgs:
    """What StackdriverAdapter needs."""

    cluster: ClusterHandle
    access: GcpAccess
    settings: StackdriverSettings


class StackdriverAdapter(pulumi.ComponentResource):
    """Cloud Monitoring's metrics for autoscalers."""

    handle: CustomMetricsHandle

    def __init__(self, name: str, args: StackdriverAdapterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "StackdriverAdapter"), name, None, opts)
        self._child = pulumi.ResourceOptions(parent=self, provider=args.cluster.provider)
        space = naming.STACKDRIVER_NAMESPACE
        namespace = k8s.core.v1.Namespace(space, metadata=_metadata(space, None), opts=self._child)
        account = k8s.core.v1.ServiceAccount(
            naming.STACKDRIVER_ADAPTER, metadata=_metadata(naming.STACKDRIVER_ADAPTER, space), opts=self._after(namespace)
        )
        needed = [account, *self._roles(account), self._grant(args.access)]
        spec: Any = deployment_spec(args.settings)
        deployment = k8s.apps.v1.Deployment(
            naming.STACKDRIVER_ADAPTER, metadata=_metadata(naming.STACKDRIVER_ADAPTER, space), spec=spec, opts=self._after(*needed)
        )
        service = k8s.core.v1.Service(
            naming.STACKDRIVER_ADAPTER,
            metadata=_metadata(naming.STACKDRIVER_ADAPTER, space),
            spec=k8s.core.v1.ServiceSpecArgs(
                type="ClusterIP",
                selector=_LABELS,
                ports=[k8s.core.v1.ServicePortArgs(name="https", port=_PORT, target_port=_PORT, protocol="TCP")],
            ),
            # Last, because the engine waits for a Service until somebody is ready behind it.
            opts=self._after(deployment),
        )
        served = []
        for api in api_services(args.settings):
            api_spec: Any = api_service_spec(api)
            # After the adapter, and so gone before it: no namespace can be deleted while an APIService that nobody serves is registered.
            served.append(
                k8s.apiregistration.v1.APIService(api, metadata=_metadata(api, None), spec=api_spec, opts=self._after(deployment, service))
            )
        ready = pulumi.Output.all(*(api.metadata.name for api in served)).apply(lambda names: str(names[-1]))
        self.handle = CustomMetricsHandle(ready=ready)
        self.register_outputs({"apiService": ready})

    def _after(self, *resources: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=list(resources)))

    def _grant(self, access: GcpAccess) -> pulumi.Resource:
        """Let the adapter's service account read metrics, and nothing else of the project."""
        # The pool is known once the cluster is there: a binding made earlier would be refused, and so would the question for the project's
        # number in a project whose APIs are only being switched on.
        project = gcp.organizations.get_project_output(
            project_id=access.workload_pool.apply(lambda _: access.project),
            opts=pulumi.InvokeOutputOptions(parent=self, provider=access.gcp),
        )
        member = pulumi.Output.all(project.number, access.workload_pool).apply(lambda known: principal(known[0], known[1]))
        return gcp.projects.IAMMember(
            f"{naming.STACKDRIVER_ADAPTER}-viewer",
            project=access.project,
            role=ROLE,
            member=member,
            opts=pulumi.ResourceOptions(parent=self, provider=access.gcp),
        )

    def _roles(self, account: k8s.core.v1.ServiceAccount) -> Sequence[pulumi.Resource]:
        """Declare what an aggregated API needs of Kubernetes, and what the HPA needs of it."""
        adapter = [k8s.rbac.v1.SubjectArgs(kind="ServiceAccount", name=naming.STACKDRIVER_ADAPTER, namespace=naming.STACKDRIVER_NAMESPACE)]
        autoscaler = [k8s.rbac.v1.SubjectArgs(kind="ServiceAccount", name="horizontal-pod-autoscaler", namespace=naming.SYSTEM_NAMESPACE)]
        pods = self._cluster_role("custom-metrics-resource-reader", "", ["pods", "nodes", "nodes/stats"])
        metrics = self._cluster_role("external-metrics-reader", "external.metrics.k8s.io", ["*"])
        return [
            self._cluster_binding("custom-metrics:system:auth-delegator", "system:auth-delegator", adapter, account),
            k8s.rbac.v1.RoleBinding(
                "custom-metrics-auth-reader",
                metadata=_metadata("custom-metrics-auth-reader", naming.SYSTEM_NAMESPACE),
                role_ref=_role_ref("Role", "extension-apiserver-authentication-reader"),
                subjects=adapter,
                opts=self._after(account),
            ),
            self._cluster_binding("custom-metrics-resource-reader", "custom-metrics-resource-reader", adapter, account, pods),
            self._cluster_binding("external-metrics-reader", "external-metrics-reader", autoscaler, metrics),
        ]

    def _cluster_role(self, name: str, group: str, resources: Sequence[str]) -> k8s.rbac.v1.ClusterRole:
        rule = k8s.rbac.v1.PolicyRuleArgs(api_groups=[group], resources=list(resources), verbs=["get", "list", "watch"])
        return k8s.rbac.v1.ClusterRole(name, metadata=_metadata(name, None), rules=[rule], opts=self._child)

    def _cluster_binding(
        self, name: str, role: str, subjects: Sequence[k8s.rbac.v1.SubjectArgs], *after: pulumi.Resource
    ) -> k8s.rbac.v1.ClusterRoleBinding:
        return k8s.rbac.v1.ClusterRoleBinding(
            name,
            metadata=_metadata(name, None),
            role_ref=_role_ref("ClusterRole", role),
            subjects=list(subjects),
            opts=self._after(*after),
        )


def _role_ref(kind: str, name: str) -> k8s.rbac.v1.RoleRefArgs:
    return k8s.rbac.v1.RoleRefArgs(api_group="rbac.authorization.k8s.io", kind=kind, name=name)


def _metadata(name: str, namespace: str | None) -> k8s.meta.v1.ObjectMetaArgs:
    return k8s.meta.v1.ObjectMetaArgs(name=name, namespace=namespace, labels={**_LABELS, **naming.labels(_COMPONENT, _COMPONENT)})
