"""The SDKs of the clouds and of Kubernetes: all that they are to the type checker, and at run time no more than a stack uses.

An SDK's module makes some thousand classes as soon as one of them is asked for: ``pulumi_gcp.compute`` four seconds of every command,
``pulumi_aws.ec2`` and ``pulumi_kubernetes.core`` a third of one each, which was most of what a preview took. What the SDK's class does with
its arguments in the end is to name them as the plugin does and to register the result under a token. That alone is done here; mypy goes on
checking names and types against the SDK's own. docs/adr/0004-light-sdk.md has what was weighed.

tests/components/test_sdk.py registers the stack files both ways and compares the engine's requests; tests/unit/test_sdk.py holds each use
in components/ against the SDK.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pulumi
from pulumi.runtime import invoke, invoke_output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pulumi_aws as aws
    import pulumi_eks as eks
    import pulumi_gcp as gcp
    import pulumi_kubernetes as k8s

__all__ = ["aws", "eks", "gcp", "k8s"]

_WHOLE: Final[Mapping[str, tuple[str, ...]]] = {"pulumi_kubernetes": ("Provider", "apiextensions", "helm.v4")}
"""What is the SDK's own also at run time: quick to load, and with more to it than names."""
_GROUPS: Final[Mapping[str, str]] = {
    "apiregistration": "apiregistration.k8s.io",
    "helm": "helm.sh",
    "rbac": "rbac.authorization.k8s.io",
    "scheduling": "scheduling.k8s.io",
    "storage": "storage.k8s.io",
}
"""Kubernetes' API groups whose name is not the module's."""
_OUTPUTS: Final[Mapping[str, tuple[str, ...]]] = {
    "aws:cloudwatch/eventRule:EventRule": ("arn", "name"),
    "aws:ec2/launchTemplate:LaunchTemplate": ("latestVersion",),
    "aws:ec2/placementGroup:PlacementGroup": ("name",),
    "aws:ecr/repository:Repository": ("arn", "registryId", "repositoryUrl"),
    "aws:eks/addon:Addon": ("arn",),
    "aws:eks/nodeGroup:NodeGroup": ("arn", "nodeGroupName", "resources"),
    "aws:iam/instanceProfile:InstanceProfile": ("name",),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": ("arn",),
    "aws:iam/policy:Policy": ("arn",),
    "aws:iam/role:Role": ("arn", "name"),
    "aws:kms/key:Key": ("arn",),
    "aws:sqs/queue:Queue": ("arn", "name", "url"),
    "eks:index:Cluster": ("clusterSecurityGroupId", "kubeconfigJson", "oidcIssuer", "oidcProviderUrl"),
    "gcp:artifactregistry/repository:Repository": ("name",),
    "gcp:compute/network:Network": ("selfLink",),
    "gcp:compute/subnetwork:Subnetwork": ("selfLink",),
    "gcp:container/cluster:Cluster": ("controlPlaneEndpointsConfig", "endpoint", "masterAuth"),
    "gcp:serviceaccount/account:Account": ("email", "member", "name"),
}
"""What is read of a resource, beside its id and what it was given. Another one is refused with a message."""
_FIXED: Final[Mapping[str, Mapping[str, str]]] = {
    "kubernetes:helm.sh/v3:Release": {"compat": "true"},
    "pulumi:providers:aws": {"skipCredentialsValidation": "false", "skipRegionValidation": "true"},
}
"""Properties that the SDK sets by itself, beside the API version and the kind of what is an object of Kubernetes."""
_ARGUMENTS: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    ("pulumi_eks", "KubeProxyAddonOptionsArgs"): {"resolveConflictsOnCreate": "OVERWRITE", "resolveConflictsOnUpdate": "OVERWRITE"},
    ("pulumi_eks", "VpcCniOptionsArgs"): {"resolveConflictsOnCreate": "OVERWRITE", "resolveConflictsOnUpdate": "OVERWRITE"},
}
"""Arguments that the SDK gives by itself where the program does not."""
_SPELLED: Final[Mapping[str, Mapping[str, str]]] = {
    "pulumi_kubernetes": {
        "cluster_ip": "clusterIP",
        "cluster_ips": "clusterIPs",
        "disable_crd_hooks": "disableCRDHooks",
        "external_ips": "externalIPs",
        "load_balancer_ip": "loadBalancerIP",
        "non_resource_urls": "nonResourceURLs",
    }
}
"""Names that are not spelled as all others."""
_SECRET: Final[Mapping[str, tuple[str, ...]]] = {
    "gcp:artifactregistry/repository:Repository": ("effectiveLabels", "pulumiLabels"),
    "gcp:container/cluster:Cluster": ("effectiveLabels", "pulumiLabels"),
    "gcp:kms/cryptoKey:CryptoKey": ("effectiveLabels", "pulumiLabels"),
    "kubernetes:core/v1:Secret": ("data", "stringData"),
    "pulumi:providers:aws": ("accessKey", "secretKey", "token"),
    "pulumi:providers:gcp": ("accessToken",),
}
"""Properties that the SDK keeps encrypted in the state, whether or not the program says so."""
_COMPONENTS: Final = ("eks:index:Cluster",)
"""What a plugin declares by itself, with resources of its own."""


class _Light:
    """A resource by its token. Attributes are what the SDK's class has, as far as they were given or are in `_OUTPUTS`."""

    _token: str
    _package: str
    _fixed: Mapping[str, str]

    def __init__(
        self,
        resource_name: str,
        args: Mapping[str, Any] | None = None,
        /,
        opts: pulumi.ResourceOptions | None = None,
        **inputs: pulumi.Input[Any],
    ) -> None:
        properties = {**dict.fromkeys(_OUTPUTS.get(self._token, ())), **self._fixed, **(args or {}), **_named(self._package, inputs)}
        secret = [key for key in _SECRET.get(self._token, ()) if key in properties]
        properties.update({key: pulumi.Output.secret(properties[key]) for key in secret})
        version, server = _plugin(self._package)
        opts = pulumi.ResourceOptions.merge(pulumi.ResourceOptions(version=version, plugin_download_url=server), opts)
        hidden = pulumi.ResourceOptions(additional_secret_outputs=list(_SECRET.get(self._token, ())) or None)
        self._register(resource_name, properties, pulumi.ResourceOptions.merge(opts, hidden))
        # The SDK leaves them under the plugin's names.
        self._properties = {key: self.__dict__.pop(key) for key in properties}

    def _register(self, name: str, properties: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        found = self.__dict__.get("_properties", {}).get(_camel(self._package, name))
        if found is None:
            message = f"{self._token} has no output {name} here: add {_camel(self._package, name)} to _OUTPUTS in components/sdk.py."
            raise AttributeError(message)
        return found.apply(_answer)


class _Custom(_Light, pulumi.CustomResource):
    def _register(self, name: str, properties: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        pulumi.CustomResource.__init__(self, self._token, name, properties, opts)


class _Component(_Light, pulumi.ComponentResource):
    def _register(self, name: str, properties: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        pulumi.ComponentResource.__init__(self, self._token, name, properties, opts, remote=True)


class _Provider(_Light, pulumi.ProviderResource):
    """A cloud's credentials and region. Raises TypeError for what is not a text: a provider's settings are JSON within JSON."""

    def _register(self, name: str, properties: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        if others := [key for key, value in properties.items() if value is not None and not isinstance(value, str)]:
            message = f"{self._token} {name}: {', '.join(others)} is no text, and nothing else can be given here (components/sdk.py)."
            raise TypeError(message)
        pulumi.ProviderResource.__init__(self, self._token.rpartition(":")[2], name, properties, opts)


class _Answer(dict[str, Any]):
    """What a plugin answered; attributes are named as in the SDK."""

    def __getattr__(self, name: str) -> Any:
        try:
            return _answer(self[_camel("", name)])
        except KeyError:
            raise AttributeError(name) from None


def _answer(value: Any) -> Any:
    if isinstance(value, dict):
        return _Answer(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)  # all numbers come as floats; the SDK knows from its types which is none
    return [_answer(item) for item in value] if isinstance(value, list) else value


def _camel(package: str, name: str) -> str:
    return _SPELLED.get(package, {}).get(name) or re.sub(r"_(.)", lambda found: found[1].upper(), name)


def _named(package: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Name arguments as the plugin does; what is None was not given."""
    return {_camel(package, name): value for name, value in values.items() if value is not None}


def _arguments(package: str, name: str) -> Callable[..., dict[str, Any]]:
    """What the SDK has a class for, with ``Args`` at the end of its name."""
    return lambda **values: {**_ARGUMENTS.get((package, name), {}), **_named(package, values)}


@functools.cache
def _plugin(package: str) -> tuple[str, str | None]:
    """Version of the plugin that the installed SDK is for, and where it comes from if not from Pulumi; the package is not loaded."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(package)
    said = json.loads(Path(spec.origin).with_name("pulumi-plugin.json").read_text(encoding="utf-8"))
    return said["version"], said.get("server") or None


def _function(package: str, token: str) -> Callable[..., Any]:
    """Ask the plugin and wait: ``get_thing``."""

    def call(opts: pulumi.InvokeOptions | None = None, **arguments: Any) -> Any:
        version, server = _plugin(package)
        opts = pulumi.InvokeOptions.merge(pulumi.InvokeOptions(version=version, plugin_download_url=server), opts)
        return _answer(invoke(token, _named(package, arguments), opts).value)

    return call


def _output_function(package: str, token: str) -> Callable[..., pulumi.Output[Any]]:
    """Ask the plugin and go on: ``get_thing_output``."""

    def call(opts: pulumi.InvokeOptions | pulumi.InvokeOutputOptions | None = None, **arguments: Any) -> pulumi.Output[Any]:
        version, server = _plugin(package)
        opts = pulumi.InvokeOutputOptions.merge(pulumi.InvokeOutputOptions(version=version, plugin_download_url=server), opts)
        return invoke_output(token, _named(package, arguments), opts).apply(_answer)

    return call


class _Module:
    """A module of an SDK, or the SDK."""

    def __init__(self, package: str, path: str = "") -> None:
        self._package = package
        self._path = path

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        path = f"{self._path}.{name}".lstrip(".")
        found: Any
        if path in _WHOLE.get(self._package, ()):
            found = getattr(importlib.import_module(f"{self._package}.{self._path}".rstrip(".")), name)
        elif name[0].islower() and not name.startswith("get_"):
            found = _Module(self._package, path)
        else:
            found = self._member(name)
        self.__dict__[name] = found
        return found

    def _member(self, name: str) -> Any:
        if name.endswith("Args"):
            return _arguments(self._package, name)
        if name.startswith("get_"):
            function = _camel(self._package, name.removesuffix("_output"))
            make = _output_function if name.endswith("_output") else _function
            return make(self._package, self._token(function, function))
        token = self._token(name[0].lower() + name[1:], name)
        base: type[_Light] = _Custom
        if name == "Provider":
            token, base = f"pulumi:providers:{self._package.removeprefix('pulumi_')}", _Provider
        elif token in _COMPONENTS:
            base = _Component
        fixed = _FIXED.get(token, {})
        if self._package == "pulumi_kubernetes" and token not in _FIXED:
            fixed = {"apiVersion": self._group().removeprefix("core/"), "kind": name}
        return type(name, (base,), {"_token": token, "_package": self._package, "_fixed": fixed})

    def _group(self) -> str:
        group, _, version = self._path.partition(".")
        return f"{_GROUPS.get(group, group)}/{version}"

    def _token(self, member: str, name: str) -> str:
        if self._package == "pulumi_kubernetes":
            return f"kubernetes:{self._group()}:{name}"
        package = self._package.removeprefix("pulumi_")
        return f"eks:index:{name}" if package == "eks" else f"{package}:{self._path or 'index'}/{member}:{name}"


if not TYPE_CHECKING:
    aws, eks, gcp, k8s = (_Module(package) for package in ("pulumi_aws", "pulumi_eks", "pulumi_gcp", "pulumi_kubernetes"))
