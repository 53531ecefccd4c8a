"""Kubernetes objects that nearly every stack declares, without the module of the SDK that has all fifty kinds of core/v1.

``pulumi_kubernetes.core.v1`` takes 0.2 s of CPU to load, a tenth of what the program of a whole preview does. These register what the SDK's
classes register, which a test holds; metadata is the SDK's own. Kinds that few stacks need come from the SDK. (A stack
on EKS loads the module all the same: `pulumi_eks` has it in the type of an output.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as k8s  # noqa: TC002  # the SDK reads the type of `metadata` at run time

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Object(pulumi.CustomResource):
    """One object. Raises ValueError without a provider: nothing here says which version of the plugin another one would be."""

    def __init__(self, name: str, kind: str, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        if opts.provider is None:
            message = f"{kind} {name} has no provider: any version of the plugin could be taken."
            raise ValueError(message)
        given = {key: value for key, value in inputs.items() if value is not None}
        super().__init__(f"kubernetes:core/v1:{kind}", name, {"apiVersion": "v1", "kind": kind, **given}, opts)

    @property
    @pulumi.getter
    def metadata(self) -> pulumi.Output[k8s.meta.v1.outputs.ObjectMeta]:
        """As the cluster has it: with a name where Pulumi gives one."""
        found: pulumi.Output[k8s.meta.v1.outputs.ObjectMeta] = pulumi.get(self, "metadata")
        return found


class Namespace(_Object):
    """See ``k8s.core.v1.Namespace``."""

    def __init__(self, name: str, *, metadata: k8s.meta.v1.ObjectMetaArgs, opts: pulumi.ResourceOptions) -> None:
        super().__init__(name, "Namespace", {"metadata": metadata}, opts)


class ConfigMap(_Object):
    """See ``k8s.core.v1.ConfigMap``."""

    def __init__(
        self,
        name: str,
        *,
        metadata: k8s.meta.v1.ObjectMetaArgs,
        data: pulumi.Input[Mapping[str, pulumi.Input[str]]],
        opts: pulumi.ResourceOptions,
    ) -> None:
        super().__init__(name, "ConfigMap", {"metadata": metadata, "data": data}, opts)


class Secret(_Object):
    """See ``k8s.core.v1.Secret``: the values are secrets in the state too."""

    def __init__(
        self,
        name: str,
        *,
        metadata: k8s.meta.v1.ObjectMetaArgs,
        data: pulumi.Input[Mapping[str, pulumi.Input[str]]],
        immutable: bool | None = None,
        opts: pulumi.ResourceOptions,
    ) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["data", "stringData"])
        inputs = {"metadata": metadata, "data": pulumi.Output.secret(data), "immutable": immutable}
        super().__init__(name, "Secret", inputs, pulumi.ResourceOptions.merge(opts, secret))
