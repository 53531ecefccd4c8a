"""Components `helm.v4.Chart`, `yaml.v2.ConfigGroup` and `yaml.v2.ConfigFile`, with one resource for each object.

The only module that uses the whole Pulumi SDK; it is imported at the first Construct. Names are the official ones:
`<prefix>:<namespace>/<name>`, where the prefix is `resourcePrefix` or the component's name.
"""

from __future__ import annotations

import asyncio
import glob
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.provider import ConstructResult
from pulumi.provider import Provider as PulumiProvider
from pulumi.provider.server import ProviderServicer

from local.plugins.kubernetes import VERSION, manifests
from local.plugins.kubernetes.helm_cli import Helm, HelmError, Location, template_arguments
from local.plugins.kubernetes.helm_inputs import merge
from local.plugins.kubernetes.naming import SKIP_AWAIT, kind_of
from local.plugins.kubernetes.provider import Provider, ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from local.plugins.kubernetes.client import Object

CHART, CONFIG_GROUP, CONFIG_FILE = "kubernetes:helm.sh/v4:Chart", "kubernetes:yaml/v2:ConfigGroup", "kubernetes:yaml/v2:ConfigFile"

_RESOURCE_POLICY = "helm.sh/resource-policy"
_GLOB = re.compile(r"(?:^|[^\\])[*?\[]")
_LOOKUP = re.compile(rb"\{\{[^}]*\blookup\b")
_UNKNOWN_KIND = "ensure CRDs are installed first"  # part of Helm's message
_RENDER_TIMEOUT_S = 300.0  # includes the download of a chart


class Component(pulumi.ComponentResource):
    """A component; its objects are its children."""

    resources: pulumi.Output[Any]


class Components(PulumiProvider):
    """Serves Construct."""

    def __init__(self, provider: Provider, helm: Helm) -> None:
        super().__init__(VERSION)
        self._provider = provider
        self._helm = helm

    def construct(
        self, name: str, resource_type: str, inputs: Mapping[str, Any], options: pulumi.ResourceOptions | None = None
    ) -> ConstructResult:
        """Create the component; its objects follow when the inputs are known."""
        self._provider.reach()
        render = {CHART: self._chart, CONFIG_GROUP: self._group, CONFIG_FILE: self._file}.get(resource_type)
        if render is None:
            raise ProviderError(
                f"unknown component {resource_type!r}: the offline Kubernetes plugin supports {CHART}, {CONFIG_GROUP} and {CONFIG_FILE}"
            )
        component = Component(resource_type, name, None, options)
        resources: pulumi.Output[Any] = pulumi.Output.from_input(asyncio.ensure_future(self._children(component, name, inputs, render)))
        return ConstructResult(component.urn, {"resources": resources})

    async def _children(
        self, component: Component, name: str, inputs: Mapping[str, Any], render: Callable[[str, dict[str, Any]], list[Object]]
    ) -> list[pulumi.Resource]:
        resolved = pulumi.Output.all(**inputs)
        if not await resolved.is_known():
            pulumi.warn("Input properties have unknown values. Preview is incomplete.", component)
            return []
        args: dict[str, Any] = await resolved.future() or {}
        objects = await asyncio.to_thread(render, name, args)
        prefix = args.get("resourcePrefix")
        return register(component, objects, name if prefix is None else str(prefix), skip_await=bool(args.get("skipAwait")))

    def _chart(self, name: str, args: dict[str, Any]) -> list[Object]:
        client = self._provider.reach()
        repository = args.get("repositoryOpts") or {}
        files = {key: _path_of(repository.get(key)) for key in ("caFile", "certFile", "keyFile")}
        where = Location(
            chart=str(args["chart"]),
            version=str(args.get("version") or ""),
            repo=str(repository.get("repo") or ""),
            devel=bool(args.get("devel")),
            verify=bool(args.get("verify")),
            keyring=_path_of(args.get("keyring")),
            username=str(repository.get("username") or ""),
            password=str(repository.get("password") or ""),
            ca_file=files["caFile"],
            cert_file=files["certFile"],
            key_file=files["keyFile"],
            plain_http=bool(args.get("plainHttp")),
            dependency_update=bool(args.get("dependencyUpdate")),
        )
        values: dict[str, Any] = {}
        for item in args.get("valueYamlFiles") or []:
            values = merge(values, next(iter(manifests.load(_text_of(item))), {}))
        values = merge(values, _without_assets(args.get("values") or {}))
        namespace = str(args.get("namespace") or "") or self._provider.default_namespace
        post = args.get("postRenderer") or {}
        extra = ["--post-renderer", str(post["command"])] if post else []
        for argument in post.get("args") or []:
            extra += ["--post-renderer-args", str(argument)]

        def render(*, online: bool) -> str:
            arguments = template_arguments(
                str(args.get("name") or name),
                namespace,
                where,
                include_crds=not args.get("skipCrds"),
                kube_version=str(client.version().get("gitVersion", "")),
                api_versions=client.api_versions(),
                online=online,
            )
            return self._helm.run(arguments + extra, values=values, timeout_s=_RENDER_TIMEOUT_S)

        try:
            # Only a chart that uses `lookup` needs the cluster. Without the cluster, charts can contain kinds that do not exist yet.
            text = render(online=_looks_up(where.folder))
        except HelmError as error:
            if _UNKNOWN_KIND not in str(error):
                raise ProviderError(f"chart {where.chart!r} of {name!r} can't be rendered: {error}") from error
            text = render(online=False)
        return self._normal(manifests.load(text), namespace)

    def _group(self, _: str, args: dict[str, Any]) -> list[Object]:
        objects: list[Object] = []
        for pattern in args.get("files") or []:
            objects += _read_files(str(pattern), with_glob=True)
        objects += manifests.load(str(args.get("yaml") or ""))
        objects += [dict(item) for item in args.get("objs") or []]
        return self._normal(objects, self._provider.default_namespace)

    def _file(self, _: str, args: dict[str, Any]) -> list[Object]:
        return self._normal(_read_files(str(args["file"]), with_glob=False), self._provider.default_namespace)

    def _normal(self, objects: list[Object], namespace: str) -> list[Object]:
        return manifests.normalize(objects, namespace, self._provider.is_namespaced)


def register(component: pulumi.ComponentResource, objects: list[Object], prefix: str, *, skip_await: bool) -> list[pulumi.Resource]:
    """Declare a resource for each object, after its dependencies."""
    made: dict[manifests.Reference, pulumi.Resource] = {}
    for obj, needs in manifests.ordered(objects):
        metadata = obj["metadata"]
        place = f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])
        annotations = metadata.get("annotations") or {}
        if skip_await:
            annotations = metadata["annotations"] = {**annotations, SKIP_AWAIT: "true"}
        policy = annotations.get(_RESOURCE_POLICY)
        if policy not in (None, "keep"):
            pulumi.warn(f"Unsupported Helm resource policy {policy!r}", component)
        kind = kind_of(obj)
        props = dict(obj)
        if (kind.group, kind.kind) == ("", "Secret"):
            for key in ("data", "stringData"):
                if props.get(key) is not None:
                    props[key] = pulumi.Output.secret(props[key])
        options = pulumi.ResourceOptions(
            parent=component,
            depends_on=[made[manifests.reference(need)] for need in needs],
            version=VERSION,
            retain_on_delete=True if policy == "keep" else None,
            additional_secret_outputs=["data", "stringData"] if kind.kind == "Secret" and not kind.group else None,
        )
        token = f"kubernetes:{kind.group or 'core'}/{kind.version}:{kind.kind}"
        made[manifests.reference(obj)] = pulumi.CustomResource(token, f"{prefix}:{place}" if prefix else place, props, options)
    return list(made.values())


def _looks_up(folder: Path | None) -> bool:
    return folder is not None and any(_LOOKUP.search(path.read_bytes()) for path in folder.glob("**/templates/**/*") if path.is_file())


def _read_files(name: str, *, with_glob: bool) -> list[Object]:
    if re.match(r"^[a-z][a-z0-9+.-]*://", name):
        raise ProviderError(f"{name}: manifests at a URL are not supported; download the file and use its path")
    paths = sorted(glob.glob(name)) if with_glob and _GLOB.search(name) else [name]  # noqa: PTH207  # relative to where the program runs
    objects: list[Object] = []
    for path in paths:
        try:
            objects += manifests.load(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise ProviderError(f"reading YAML file from disk: {error}") from error
    return objects


def _text_of(value: Any) -> str:
    if isinstance(value, pulumi.StringAsset):
        return value.text
    if isinstance(value, pulumi.FileAsset):
        return Path(value.path).read_text(encoding="utf-8")
    if isinstance(value, str):
        return value
    raise ProviderError(f"an asset of type {type(value).__name__} is not supported; use a FileAsset or a StringAsset")


def _path_of(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, pulumi.FileAsset):
        return str(value.path)
    raise ProviderError(f"an asset of type {type(value).__name__} has no path; use a FileAsset")


def _without_assets(value: Any) -> Any:
    if isinstance(value, pulumi.Asset):
        return _text_of(value)
    if isinstance(value, dict):
        return {key: _without_assets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_assets(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def servicer(provider: Provider, helm: Helm, engine_address: str) -> ProviderServicer:
    """The SDK's server for Construct, with these components."""
    return ProviderServicer(Components(provider, helm), [], engine_address)
