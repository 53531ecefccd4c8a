"""Interpret the inputs of a Helm release: chart, values, Helm's options, owner. Pure, except for reading values files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import yaml

from local.plugins.kubernetes.helm_cli import DEFAULT_TIMEOUT_S, Action, Location
from local.plugins.kubernetes.properties import Asset, Props, reveal
from local.plugins.kubernetes.provider import ProviderError

if TYPE_CHECKING:
    from pathlib import Path

OWNER_LABEL = "pulumi.com.owner"  # on Helm's record of a release; Helm does not allow a slash in this label


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge chart values like Helm: mappings by key, all else replaced; a null is kept, because it removes a default."""
    result = dict(base)
    for key, value in over.items():
        result[key] = merge(result[key], value) if isinstance(value, dict) and isinstance(result.get(key), dict) else value
    return result


def chart_values(inputs: Props) -> dict[str, Any]:
    """A release's values: its files in order, then `values`. Assets are replaced by their text.

    Raises:
        ProviderError: A file can't be read or is not a mapping.
    """
    values: dict[str, Any] = {}
    for item in reveal(inputs.get("valueYamlFiles")) or []:
        if not isinstance(item, Asset):
            raise ProviderError(f"unsupported type for 'valueYamlFiles' arg: {type(item).__name__}; use a FileAsset or a StringAsset")
        try:
            parsed = yaml.safe_load(item.read()) or {}
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise ProviderError(f"valueYamlFiles: {error}") from error
        if not isinstance(parsed, dict):
            raise ProviderError("valueYamlFiles: a values file must be a mapping")
        values = merge(values, parsed)
    return merge(values, _plain_values(reveal(inputs.get("values")) or {}))


def _plain_values(value: Any) -> Any:
    if isinstance(value, Asset):
        return value.read().decode()
    if isinstance(value, dict):
        return {key: _plain_values(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain_values(item) for item in value]
    return value


def location(inputs: Props) -> Location:
    """The source of a release's chart."""
    plain = reveal(inputs)
    repository = plain.get("repositoryOpts") or {}
    return Location(
        chart=str(plain.get("chart") or ""),
        version=str(plain.get("version") or ""),
        repo=str(repository.get("repo") or ""),
        devel=bool(plain.get("devel")),
        verify=bool(plain.get("verify")),
        keyring=str(plain.get("keyring") or ""),
        username=str(repository.get("username") or ""),
        password=str(repository.get("password") or ""),
        ca_file=str(repository.get("caFile") or ""),
        cert_file=str(repository.get("certFile") or ""),
        key_file=str(repository.get("keyFile") or ""),
        dependency_update=bool(plain.get("dependencyUpdate")),
    )


def action(inputs: Props, urn: str) -> Action:
    """Helm's options for a release."""
    plain = reveal(inputs)
    skip_await = bool(plain.get("skipAwait"))
    return Action(
        name=plain["name"],
        namespace=plain["namespace"],
        where=location(inputs),
        timeout_s=int(plain.get("timeout") or DEFAULT_TIMEOUT_S),
        wait=not skip_await,
        wait_for_jobs=bool(plain.get("waitForJobs")) and not skip_await,
        atomic=bool(plain.get("atomic")),
        skip_crds=bool(plain.get("skipCrds")),
        no_hooks=bool(plain.get("disableWebhooks")),
        create_namespace=bool(plain.get("createNamespace")),
        description=str(plain.get("description") or ""),
        render_subchart_notes=bool(plain.get("renderSubchartNotes")),
        disable_openapi_validation=bool(plain.get("disableOpenapiValidation")),
        replace=bool(plain.get("replace")),
        take_ownership=bool(plain.get("takeOwnership")),
        postrender=str(plain.get("postrender") or ""),
        force=bool(plain.get("forceUpdate")),
        reset_values=bool(plain.get("resetValues")),
        reuse_values=bool(plain.get("reuseValues")),
        cleanup_on_fail=bool(plain.get("cleanupOnFail")),
        max_history=plain.get("maxHistory"),
        labels=((OWNER_LABEL, owner(urn)),),
    )


def owner(urn: str) -> str:
    """Identifies a resource in a label."""
    return hashlib.sha256(urn.encode()).hexdigest()[:16]


def folder_checksum(folder: Path) -> str:
    """Digest of a chart folder: paths and contents of all files, without times and modes."""
    digest = hashlib.sha256()
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        name = path.relative_to(folder).as_posix()
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
