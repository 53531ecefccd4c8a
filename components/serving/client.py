"""A client inside the cluster: one pod of NVIDIA's SDK image, which sleeps until you run a command in it, and requests no GPU.

The Marketplace application's benchmark has the same. A client outside would also measure a load balancer and the network to the cloud.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base.naming import labels, type_token

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.base.handles import ClusterHandle, ServingHandle
    from components.serving.settings import ClientSettings

NAME: Final = "triton-client"
_LABELS: Final = labels(NAME, NAME)
_UID: Final = 1000
"""triton-server in NVIDIA's images."""
_TMP: Final = "/tmp"  # noqa: S108  # the volume


def _deployment_spec(settings: ClientSettings, urls: Mapping[str, str], keys: Mapping[str, str]) -> dict[str, Any]:
    return {
        "replicas": 1,
        "selector": {"matchLabels": _LABELS},
        "template": {
            "metadata": {"labels": _LABELS},
            "spec": {
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                # sleep runs as process 1, which ignores SIGTERM.
                "terminationGracePeriodSeconds": 0,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": _UID,
                    "runAsGroup": _UID,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "client",
                        "image": settings.image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["sleep", "infinity"],
                        "env": [
                            *({"name": name, "value": value} for name, value in {"HOME": _TMP, **urls}.items()),
                            *(
                                {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": "key"}}}
                                for name, secret in keys.items()
                            ),
                        ],
                        "resources": {
                            "requests": {"cpu": settings.cpu, "memory": settings.memory},
                            "limits": {"memory": settings.memory},
                        },
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "workingDir": _TMP,
                        "volumeMounts": [{"name": "tmp", "mountPath": _TMP}],
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
        },
    }


def _variable(handle: ServingHandle, what: str) -> str:
    return f"TRITON_{handle.name.upper().replace('-', '_')}_{what}"


@dataclass(frozen=True, kw_only=True)
class TritonClientArgs:
    """Arguments of `TritonClient`."""

    cluster: ClusterHandle
    namespace: k8s.core.v1.Namespace
    serving: Sequence[ServingHandle]
    settings: ClientSettings


class TritonClient(pulumi.ComponentResource):
    """The pod of the client.

    Its environment has the deployments' addresses, such as ``TRITON_BERT_LARGE_HTTP``, and as ``TRITON_BERT_LARGE_KEY`` the key to the
    admin endpoints, which perf_analyzer needs for Triton's statistics.
    """

    command: pulumi.Output[str]
    """Prefix of a command line that runs it in the pod."""

    def __init__(self, name: str, args: TritonClientArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("serving", "TritonClient"), name, None, opts)
        urls: dict[str, pulumi.Output[str]] = {}
        for handle in args.serving:
            for protocol, port in (("HTTP", 8000), ("GRPC", 8001)):
                urls[_variable(handle, protocol)] = pulumi.Output.concat(handle.service, f":{port}")
        # A pod can read the Secrets of its own namespace only.
        keys = {_variable(handle, "KEY"): handle.admin_secret for handle in args.serving if handle.namespace == args.serving[0].namespace}
        spec: Any = pulumi.Output.all(**urls).apply(lambda known: _deployment_spec(args.settings, known, keys))
        deployment = k8s.apps.v1.Deployment(
            NAME,
            metadata=k8s.meta.v1.ObjectMetaArgs(name=NAME, namespace=args.namespace.metadata.name, labels=_LABELS),
            spec=spec,
            opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider),
        )
        self.command = deployment.metadata.namespace.apply(lambda namespace: f"kubectl -n {namespace} exec deploy/{NAME} --")
        self.register_outputs({"command": self.command})
