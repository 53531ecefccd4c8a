"""A client inside the cluster: one pod of NVIDIA's SDK image, with perf_analyzer and the Python clients.

Like the client of the Marketplace application's benchmark, it sleeps until you run a command in it (`kubectl exec`). A client outside would
also measure a load balancer and the network to the cloud. It creates no load by itself and requests no GPU.
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
_COMPONENT: Final = "triton-client"
_UID: Final = 1000
"""triton-server in NVIDIA's images."""


def deployment_spec(settings: ClientSettings, urls: Mapping[str, str]) -> dict[str, Any]:
    """Return ``spec`` of the Deployment; ``urls`` become environment variables."""
    own = labels(_COMPONENT, NAME)
    return {
        "replicas": 1,
        "selector": {"matchLabels": own},
        "template": {
            "metadata": {"labels": own},
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
                        "env": [{"name": name, "value": value} for name, value in {"HOME": "/tmp", **urls}.items()],  # noqa: S108  # the volume
                        "resources": {
                            "requests": {"cpu": settings.cpu, "memory": settings.memory},
                            "limits": {"memory": settings.memory},
                        },
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "workingDir": "/tmp",  # noqa: S108  # the volume
                        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  # the volume
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
        },
    }


def variable(name: str, protocol: str) -> str:
    """Return the name of the environment variable for a deployment's address, such as ``TRITON_BERT_LARGE_HTTP``."""
    return f"TRITON_{name.upper().replace('-', '_')}_{protocol}"


@dataclass(frozen=True, kw_only=True)
class TritonClientArgs:
    """Arguments of `TritonClient`."""

    cluster: ClusterHandle
    namespace: k8s.core.v1.Namespace
    serving: Sequence[ServingHandle]
    settings: ClientSettings


class TritonClient(pulumi.ComponentResource):
    """The pod of the client."""

    command: pulumi.Output[str]
    """Prefix of a command line that runs it in the pod."""

    def __init__(self, name: str, args: TritonClientArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("serving", "TritonClient"), name, None, opts)
        urls: dict[str, pulumi.Output[str]] = {}
        for handle in args.serving:
            urls[variable(handle.name, "HTTP")] = handle.service.apply(lambda service: f"{service}:8000")
            urls[variable(handle.name, "GRPC")] = handle.service.apply(lambda service: f"{service}:8001")
        spec: Any = pulumi.Output.all(**urls).apply(lambda known: deployment_spec(args.settings, known))
        deployment = k8s.apps.v1.Deployment(
            NAME,
            metadata=k8s.meta.v1.ObjectMetaArgs(name=NAME, namespace=args.namespace.metadata.name, labels=labels(_COMPONENT, NAME)),
            spec=spec,
            opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider),
        )
        self.command = deployment.metadata.namespace.apply(lambda namespace: f"kubectl -n {namespace} exec deploy/{NAME} --")
        self.register_outputs({"command": self.command})
