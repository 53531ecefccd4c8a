"""The provider protocol over gRPC: converts requests to values, results to responses and errors to statuses.

An asyncio server. Requests to the cluster block, so they run in threads: each waiting object has one.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias, TypeVar

import grpc
import grpc.aio
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2

from local.plugins import serving
from local.plugins.kubernetes import VERSION, config, helm_cli, kubeconfig, manifests
from local.plugins.kubernetes.diff import Change
from local.plugins.kubernetes.errors import ApiError, Unreachable
from local.plugins.kubernetes.helm_release import Releases
from local.plugins.kubernetes.logs import EngineLog
from local.plugins.kubernetes.naming import RELEASE_TOKEN, urn_type
from local.plugins.kubernetes.paths import path_text
from local.plugins.kubernetes.properties import decode, encode
from local.plugins.kubernetes.provider import InitFailed, Provider, ProviderError
from local.plugins.light import whole_packages

T = TypeVar("T")
Context: TypeAlias = Any  # grpc.aio.ServicerContext, whose type stubs omit abort_with_status

_THREADS = 128  # for waits; the engine's default parallelism is 4 x cores, and users may raise it

_KINDS = {Change.ADD: "ADD", Change.DELETE: "DELETE", Change.UPDATE: "UPDATE"}
# Exceptions that are not bugs of this program.
_EXPECTED = (
    ProviderError,
    ApiError,
    Unreachable,
    helm_cli.HelmError,
    kubeconfig.KubeconfigError,
    config.ConfigError,
    manifests.ManifestError,
)


class Servicer(serving.Plugin):
    """A provider instance."""

    title = "the offline Kubernetes plugin"
    expected = _EXPECTED
    broken = InitFailed

    def __init__(self, engine_address: str) -> None:
        super().__init__(engine_address, threads=_THREADS)
        self._log = EngineLog(engine_address)
        self._provider = Provider(self._log)
        self._helm = helm_cli.Helm(config.Config(), self._provider.cancelled)
        self._releases = Releases(self._provider, self._helm)
        self._components: Any = None
        self._import_lock = asyncio.Lock()

    # --- the plugin itself

    def broken_status(self, error: InitFailed) -> grpc.Status:
        """The status for an object that exists but is not ready; its state is kept."""
        return serving.init_failed(
            str(error),
            resource_id=error.resource_id,
            properties=encode(error.state),
            reasons=error.reasons,
            inputs=None if error.inputs is None else encode(error.inputs),
        )

    def cancel(self) -> bool:
        """End every wait; return whether it was already cancelled."""
        before = self._provider.cancelled.is_set()
        self._provider.cancelled.set()
        return before

    def close(self) -> None:
        """Stop all work and clean up."""
        self._provider.cancelled.set()
        self._helm.close()

    def _attach(self, address: str) -> None:
        if address and address != self._engine_address:
            super()._attach(address)
            self._log = EngineLog(address)
            self._provider.log = self._log

    async def GetPluginInfo(self, _: Any, __: Context) -> Any:
        """The plugin's version."""
        return plugin_pb2.PluginInfo(version=VERSION)

    async def GetSchema(self, _: Any, __: Context) -> Any:
        """An empty schema: SDKs are generated from the official one and need none at run time."""
        return provider_pb2.GetSchemaResponse(schema=f'{{"name": "kubernetes", "version": "{VERSION}"}}')

    # --- configuration

    async def DiffConfig(self, request: Any, context: Context) -> Any:
        """Whether a changed configuration means another cluster."""
        found = await self._run(context, lambda: config.compare(decode(request.old_inputs) or decode(request.olds), decode(request.news)))
        changes = provider_pb2.DiffResponse.DIFF_SOME if found.changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=changes, diffs=found.changed, replaces=found.replaces)

    async def Configure(self, request: Any, context: Context) -> Any:
        """Apply the configuration."""

        def work() -> None:
            self._provider.cancelled.clear()  # for the next update of an attached engine
            settings = config.parse(dict(request.variables))
            self._provider.configure(settings)
            self._helm.config = settings

        await self._run(context, work)
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True)

    # --- functions

    async def Invoke(self, request: Any, context: Context) -> Any:
        """Call a function."""

        def work() -> dict[str, Any]:
            args = decode(request.args)
            if request.tok == "kubernetes:yaml:decode":
                space = args.get("defaultNamespace")
                objects = manifests.expand(manifests.load(str(args.get("text") or "")))
                for obj in objects:
                    metadata = obj.get("metadata")
                    if space and isinstance(metadata, dict) and not metadata.get("namespace"):
                        metadata["namespace"] = space
                return {"result": objects}
            raise ProviderError(
                f"the offline Kubernetes plugin does not support the function {request.tok!r}; use yaml.v2 and helm.v4 resources instead"
            )

        result = await self._run(context, work)
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(encode(result))
        return response

    async def Construct(self, request: Any, context: Context) -> Any:
        """Create a component."""
        async with self._import_lock:
            if self._components is None:
                self._components = await self._run(context, self._load_components)
        try:
            return await self._components.Construct(request, context)
        except Exception as error:
            text = str(error)
            if context.done():
                raise
            cause: BaseException | None = error
            while cause is not None and not isinstance(cause, _EXPECTED):
                cause = cause.__cause__ or cause.__context__
            await context.abort(grpc.StatusCode.UNKNOWN, str(cause) if cause is not None else text)
            raise

    def _load_components(self) -> Any:
        whole_packages()
        from local.plugins.kubernetes import construct  # noqa: PLC0415  # imports the SDK

        return construct.servicer(self._provider, self._helm, self._engine_address)

    # --- resources

    async def Check(self, request: Any, context: Context) -> Any:
        """Check inputs."""

        def work() -> Any:
            olds, news = decode(request.olds), decode(request.news)
            if urn_type(request.urn) == RELEASE_TOKEN:
                return self._releases.check(request.urn, olds, news)
            mode = provider_pb2.CheckRequest.AutonamingOptions
            naming_set = request.HasField("autonaming")
            return self._provider.check(
                request.urn,
                olds,
                news,
                seed=request.randomSeed,
                proposed_name=request.autonaming.proposed_name if naming_set else "",
                autoname_disabled=naming_set and request.autonaming.mode == mode.DISABLE,
            )

        result = await self._run(context, work)
        failures = [provider_pb2.CheckFailure(property=name, reason=reason) for name, reason in result.failures]
        return provider_pb2.CheckResponse(inputs=encode(result.inputs), failures=failures)

    async def Diff(self, request: Any, context: Context) -> Any:
        """Compute the changes of an update."""

        def work() -> Any:
            olds, old_inputs, news = decode(request.olds), decode(request.old_inputs), decode(request.news)
            if urn_type(request.urn) == RELEASE_TOKEN:
                return self._releases.diff(olds, old_inputs, news, request.ignoreChanges)
            return self._provider.diff(request.urn, olds, old_inputs, news, request.ignoreChanges)

        result = await self._run(context, work)
        details = {}
        for path, item in result.details.items():
            name = _KINDS[item.change] + ("_REPLACE" if item.replace else "")
            details[path_text(path)] = provider_pb2.PropertyDiff(kind=provider_pb2.PropertyDiff.Kind.Value(name), inputDiff=True)
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if result.changed else provider_pb2.DiffResponse.DIFF_NONE,
            replaces=result.replaces,
            deleteBeforeReplace=result.delete_first,
            diffs=sorted({str(path[0]) for path in result.details if path}),
            detailedDiff=details,
            hasDetailedDiff=True,
        )

    async def Create(self, request: Any, context: Context) -> Any:
        """Create a resource."""

        def work() -> tuple[str, Any]:
            news = decode(request.properties)
            if urn_type(request.urn) == RELEASE_TOKEN:
                return self._releases.create(request.urn, news, preview=request.preview)
            return self._provider.create(request.urn, news, timeout_s=request.timeout, preview=request.preview)

        resource_id, state = await self._run(context, work)
        return provider_pb2.CreateResponse(id=resource_id, properties=encode(state))

    async def Update(self, request: Any, context: Context) -> Any:
        """Update a resource."""

        def work() -> Any:
            olds, news = decode(request.olds), decode(request.news)
            if urn_type(request.urn) == RELEASE_TOKEN:
                return self._releases.update(request.urn, olds, news, preview=request.preview)
            return self._provider.update(
                request.urn, olds, news, ignored=list(request.ignoreChanges), timeout_s=request.timeout, preview=request.preview
            )

        return provider_pb2.UpdateResponse(properties=encode(await self._run(context, work)))

    async def Read(self, request: Any, context: Context) -> Any:
        """Read the current resource."""

        def work() -> Any:
            olds, inputs = decode(request.properties), decode(request.inputs)
            if urn_type(request.urn) == RELEASE_TOKEN:
                return self._releases.read(request.id, olds, inputs)
            return self._provider.read(request.urn, request.id, olds, inputs)

        result = await self._run(context, work)
        if not result.resource_id:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(id=result.resource_id, properties=encode(result.state), inputs=encode(result.inputs))

    async def Delete(self, request: Any, context: Context) -> Any:
        """Delete a resource."""

        def work() -> None:
            olds = decode(request.properties)
            if urn_type(request.urn) == RELEASE_TOKEN:
                self._releases.delete(request.urn, request.id, olds)
            else:
                self._provider.delete(request.urn, request.id, olds, timeout_s=request.timeout)

        await self._run(context, work)
        return empty_pb2.Empty()


def serve(arguments: list[str]) -> None:
    """Serve until the engine exits.

    Args:
        arguments: The command line: the engine's address, and options of older engines, which are ignored.
    """
    serving.serve(lambda: Servicer(serving.engine_address(arguments)))
