"""The provider's configuration: inputs, their environment variables, and the effect of a change."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local.plugins.kubernetes import kubeconfig
from local.plugins.kubernetes.properties import UNKNOWN, reveal
from local.plugins.kubernetes.replacement import Mutability

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX = "kubernetes:config:"


@dataclass(frozen=True)
class HelmSettings:
    """`helmReleaseSettings`."""

    driver: str = "secret"
    plugins_path: str = ""
    registry_config_path: str = ""
    repository_config_path: str = ""
    repository_cache: str = ""


@dataclass(frozen=True)
class Config:
    """The provider resource's settings."""

    kubeconfig: str = ""
    context: str = ""
    cluster: str = ""
    namespace: str = ""
    server_side_apply: bool = True
    patch_force: bool = False
    upsert_existing: bool = False
    delete_unreachable: bool = False
    skip_update_unreachable: bool = False
    suppress_helm_hook_warnings: bool = False
    client_timeout_s: float | None = None
    mutability: Mutability = field(default_factory=Mutability)
    helm: HelmSettings = field(default_factory=HelmSettings)


class ConfigError(Exception):
    """The configuration is invalid; the message names the key and the remedy."""


def parse(variables: Mapping[str, str], environment: Mapping[str, str] | None = None) -> Config:
    """Parse the configuration from the engine's variables (`kubernetes:config:<key>`) and the documented environment variables.

    Raises:
        ConfigError: An invalid value, or an option that this provider does not support.
    """
    env = os.environ if environment is None else environment

    def text(key: str) -> str:
        return variables.get(_PREFIX + key, "")

    def flag(key: str, variable: str = "", *, default: bool = False) -> bool:
        if _PREFIX + key in variables:
            return text(key) == "true"
        return env[variable] == "true" if variable in env else default

    def record(key: str) -> dict[str, Any]:
        try:
            value = json.loads(text(key) or "{}")
        except ValueError as error:
            raise ConfigError(f"provider option {key}: {text(key)!r} is not a JSON object: {error}") from error
        if not isinstance(value, dict):
            raise ConfigError(f"provider option {key}: {text(key)!r} is not a JSON object")
        return value

    if text("renderYamlToDirectory"):
        raise ConfigError(
            "provider option renderYamlToDirectory is not supported by the offline Kubernetes plugin; "
            "use the official plugin for rendering to files"
        )
    client, helm = record("kubeClientSettings"), record("helmReleaseSettings")
    timeout = client.get("timeout") or env.get("PULUMI_K8S_CLIENT_TIMEOUT")
    return Config(
        kubeconfig=text("kubeconfig"),
        context=text("context"),
        cluster=text("cluster"),
        namespace=text("namespace"),
        server_side_apply=flag("enableServerSideApply", "PULUMI_K8S_ENABLE_SERVER_SIDE_APPLY", default=True),
        patch_force=flag("enablePatchForce", "PULUMI_K8S_ENABLE_PATCH_FORCE"),
        upsert_existing=flag("upsertExistingObjects", "PULUMI_K8S_UPSERT_EXISTING_OBJECTS"),
        delete_unreachable=flag("deleteUnreachable", "PULUMI_K8S_DELETE_UNREACHABLE"),
        skip_update_unreachable=flag("skipUpdateUnreachable", "PULUMI_K8S_SKIP_UPDATE_UNREACHABLE"),
        suppress_helm_hook_warnings=flag("suppressHelmHookWarnings", "PULUMI_K8S_SUPPRESS_HELM_HOOK_WARNINGS"),
        client_timeout_s=float(timeout) if timeout else None,
        mutability=Mutability(
            config_map=flag("enableConfigMapMutable", "PULUMI_K8S_ENABLE_CONFIGMAP_MUTABLE"),
            secret=flag("enableSecretMutable", "PULUMI_K8S_ENABLE_SECRET_MUTABLE"),
        ),
        helm=HelmSettings(
            driver=helm.get("driver") or env.get("PULUMI_K8S_HELM_DRIVER", "secret"),
            plugins_path=helm.get("pluginsPath") or env.get("PULUMI_K8S_HELM_PLUGINS_PATH", ""),
            registry_config_path=helm.get("registryConfigPath") or env.get("PULUMI_K8S_HELM_REGISTRY_CONFIG_PATH", ""),
            repository_config_path=helm.get("repositoryConfigPath") or env.get("PULUMI_K8S_HELM_REPOSITORY_CONFIG_PATH", ""),
            repository_cache=helm.get("repositoryCache") or env.get("PULUMI_K8S_HELM_REPOSITORY_CACHE", ""),
        ),
    )


@dataclass(frozen=True)
class ConfigDiff:
    """Changed inputs of the provider, and those that replace all its resources."""

    changed: tuple[str, ...]
    replaces: tuple[str, ...]


def compare(olds: dict[str, Any], news: dict[str, Any]) -> ConfigDiff:
    """Whether a changed configuration still means the same cluster.

    As in the official provider, the active cluster's settings identify a kubeconfig, unless `clusterIdentifier` is set.
    """
    keys = [key for key in dict.fromkeys([*olds, *news]) if reveal(olds.get(key)) != reveal(news.get(key))]
    changed = tuple(keys)
    if not changed:
        return ConfigDiff((), ())
    identifier = "clusterIdentifier"
    if news.get(identifier) and olds.get(identifier) == news.get(identifier):
        return ConfigDiff(changed, ())
    replaces = [identifier] if olds.get(identifier) and news.get(identifier) and identifier in changed else []
    unknown = [key for key in ("kubeconfig", "context", "cluster") if reveal(news.get(key)) is UNKNOWN]
    if unknown:
        return ConfigDiff(changed, (*replaces, *unknown))
    before, after = _active_cluster(reveal(olds)), _active_cluster(reveal(news))
    if before is not None and after is not None and before != after:
        replaces += [key for key in ("kubeconfig", "context", "cluster") if key in changed]
    if "renderYamlToDirectory" in changed:
        replaces.append("renderYamlToDirectory")
    return ConfigDiff(changed, tuple(replaces))


def _active_cluster(inputs: dict[str, Any]) -> tuple[Any, ...] | None:
    try:
        found = kubeconfig.access(
            kubeconfig.read(inputs.get("kubeconfig") or None), context=inputs.get("context") or "", cluster=inputs.get("cluster") or ""
        )
    except kubeconfig.KubeconfigError:
        return None
    return (found.server, found.ca, found.insecure, found.tls_server_name)
