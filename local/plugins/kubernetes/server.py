"""The provider protocol over gRPC: requests to values, results to responses, errors to statuses.

One asyncio server. What talks to a cluster blocks, so it runs in threads: many objects wait at once, each in one.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import signal
import stat
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import grpc
import grpc.aio
from google.protobuf import any_pb2, empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from local.plugins.kubernetes import VERSION, config, helm_cli, kubeconfig, manifests
from local.plugins.kubernetes.client import ApiError, Unreachable
from local.plugins.kubernetes.diff import Change, path_text
from local.plugins.kubernetes.helm_release import Releases
from local.plugins.kubernetes.light import whole_packages
from local.plugins.kubernetes.logs import EngineLog
from local.plugins.kubernetes.naming import RELEASE_TOKEN, urn_type
from local.plugins.kubernetes.properties import decode, encode
from local.plugins.kubernetes.provider import InitFailed, Provider, ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Context: TypeAlias = Any  # grpc.aio.ServicerContext, whose types know nothing of abort_with_status

_THREADS = 128  # waits sleep in them; the engine's default parallelism is 4 x cores, and a user may ask for more
_MAX_MESSAGE = 400 * 1024 * 1024  # bytes; the engine's own limit
_PARENT_POLL_S = 1.0
_DRAIN_S = 0.2

_KINDS = {Change.ADD: "ADD", Change.DELETE: "DELETE", Change.UPDATE: "UPDATE"}
# What may go wrong in the world, as opposed to in this program.
_EXPECTED = (
    ProviderError,
    ApiError,
    Unreachable,
    helm_cli.HelmError,
    kubeconfig.KubeconfigError,
    config.ConfigError,
    manifests.ManifestError,
)


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """One provider instance."""

    def __init__(self, engine_address: str) -> None:
        self._engine_address = engine_address
        self._log = EngineLog(engine_address)
        self._provider = Provider(self._log)
        self._helm = helm_cli.Helm(config.Config(), self._provider.cancelled)
        self._releases = Releases(self._provider, self._helm)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="rpc")
        self._components: Any = None
        self._import_lock = asyncio.Lock()

    # --- plumbing

    async def _run(self, context: Context, work: Callable[[], T]) -> T:
        """Run blocking work in a thread; turn what it raises into a status."""
        try:
            copied = contextvars.copy_context()
            return await asyncio.get_running_loop().run_in_executor(self._threads, functools.partial(copied.run, work))
        except InitFailed as error:
            await context.abort_with_status(_init_failed(error))
            raise
        except _EXPECTED as error:
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))
            raise
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            print(trace, file=sys.stderr)  # reaches the user's screen as the plugin's own output
            await context.abort(
                grpc.StatusCode.INTERNAL, f"a mistake in the offline Kubernetes plugin: {type(error).__name__}: {error}\n{trace}"
            )
            raise

    def cancel(self) -> bool:
        """End every wait. Returns whether that had been asked for before."""
        before = self._provider.cancelled.is_set()
        self._provider.cancelled.set()
        return before

    def close(self) -> None:
        """Stop what runs and clean up."""
        self._provider.cancelled.set()
        self._helm.close()

    # --- the plugin itself

    async def Handshake(self, request: Any, _: Context) -> Any:
        """Say what we understand; the first call of a newer engine."""
        self._attach(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True, accept_resources=False, accept_outputs=False, supports_autonaming_configuration=True
        )

    async def Attach(self, request: Any, _: Context) -> Any:
        """Serve another engine (PULUMI_DEBUG_PROVIDERS)."""
        self._attach(request.address)
        return empty_pb2.Empty()

    def _attach(self, address: str) -> None:
        if address and address != self._engine_address:
            self._engine_address = address
            self._log = EngineLog(address)
            self._provider.log = self._log

    async def GetPluginInfo(self, _: Any, __: Context) -> Any:
        """Our version."""
        return plugin_pb2.PluginInfo(version=VERSION)

    async def GetSchema(self, _: Any, __: Context) -> Any:
        """No schema: SDKs are generated from the official one and need none at run time."""
        return provider_pb2.GetSchemaResponse(schema=f'{{"name": "kubernetes", "version": "{VERSION}"}}')

    async def GetMapping(self, _: Any, __: Context) -> Any:
        """No conversions from other tools."""
        return provider_pb2.GetMappingResponse()

    async def GetMappings(self, _: Any, __: Context) -> Any:
        """No conversions from other tools."""
        return provider_pb2.GetMappingsResponse()

    async def Cancel(self, _: Any, __: Context) -> Any:
        """The user asked to stop: end every wait."""
        self._provider.cancelled.set()
        return empty_pb2.Empty()

    # --- configuration

    async def CheckConfig(self, request: Any, _: Context) -> Any:
        """Every input of the provider is taken; what can't be used is refused by Configure."""
        return provider_pb2.CheckResponse(inputs=request.news)

    async def DiffConfig(self, request: Any, context: Context) -> Any:
        """Whether a changed configuration means another cluster."""
        found = await self._run(context, lambda: config.compare(decode(request.old_inputs) or decode(request.olds), decode(request.news)))
        changes = provider_pb2.DiffResponse.DIFF_SOME if found.changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=changes, diffs=found.changed, replaces=found.replaces)

    async def Configure(self, request: Any, context: Context) -> Any:
        """Take the configuration."""

        def work() -> None:
            self._provider.cancelled.clear()  # another update of an engine that attached to us
            settings = config.parse(dict(request.variables))
            self._provider.configure(settings)
            self._helm.config = settings

        await self._run(context, work)
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True)

    # --- functions

    async def Invoke(self, request: Any, context: Context) -> Any:
        """Functions."""

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
                f"the offline Kubernetes plugin has no function {request.tok!r}; use yaml.v2 and helm.v4 resources in its place"
            )

        result = await self._run(context, work)
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(encode(result))
        return response

    async def Construct(self, request: Any, context: Context) -> Any:
        """Make a component."""
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
        """Inputs as they will be used."""

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
        """What an update would change."""

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
        """Make a resource."""

        def work() -> tuple[str, Any]:
            news = decode(request.properties)
            if urn_type(request.urn) == RELEASE_TOKEN:
                return self._releases.create(request.urn, news, preview=request.preview)
            return self._provider.create(request.urn, news, timeout_s=request.timeout, preview=request.preview)

        resource_id, state = await self._run(context, work)
        return provider_pb2.CreateResponse(id=resource_id, properties=encode(state))

    async def Update(self, request: Any, context: Context) -> Any:
        """Change a resource."""

        def work() -> Any:
            olds, news = decode(request.olds), decode(request.news)
            if urn_type(request.urn) == RELEASE_TOKEN:
                return self._releases.update(request.urn, olds, news, preview=request.preview)
            return self._provider.update(
                request.urn, olds, news, ignored=list(request.ignoreChanges), timeout_s=request.timeout, preview=request.preview
            )

        return provider_pb2.UpdateResponse(properties=encode(await self._run(context, work)))

    async def Read(self, request: Any, context: Context) -> Any:
        """A resource as it is now."""

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
        """End a resource."""

        def work() -> None:
            olds = decode(request.properties)
            if urn_type(request.urn) == RELEASE_TOKEN:
                self._releases.delete(request.urn, request.id, olds)
            else:
                self._provider.delete(request.urn, request.id, olds, timeout_s=request.timeout)

        await self._run(context, work)
        return empty_pb2.Empty()


class _Status(grpc.Status):
    """A status with details, as grpc wants it."""

    def __init__(self, message: str, packed: bytes) -> None:
        self.code = grpc.StatusCode.UNKNOWN
        self.details = message
        self.trailing_metadata = (("grpc-status-details-bin", packed),)


def _init_failed(error: InitFailed) -> _Status:
    """The status that tells the engine: it is there, keep its state, and it is not ready."""
    detail = provider_pb2.ErrorResourceInitFailed(id=error.resource_id, properties=encode(error.state), reasons=error.reasons)
    if error.inputs is not None:
        detail.inputs.CopyFrom(encode(error.inputs))
    packed = any_pb2.Any()
    packed.Pack(detail)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
    status.details.add().CopyFrom(packed)
    return _Status(str(error), status.SerializeToString())


def _end_with_engine(end: Callable[[], None]) -> None:
    """End when the engine is gone, however it went.

    A killed engine can't say goodbye; a plugin that goes on would change the cluster under the next update. The engine holds our standard
    input
    open: its end is the engine's. Where that is no pipe (a debugger's terminal) our parent is looked at.
    """

    def watch_input() -> None:
        while os.read(0, 4096):
            pass
        end()

    def watch_parent() -> None:
        parent = os.getppid()
        while os.getppid() == parent:
            threading.Event().wait(_PARENT_POLL_S)
        end()

    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=watch_input, daemon=True).start()
    threading.Thread(target=watch_parent, daemon=True).start()


async def _serve(engine_address: str) -> None:
    options = [("grpc.max_receive_message_length", _MAX_MESSAGE), ("grpc.max_send_message_length", _MAX_MESSAGE)]
    server = grpc.aio.server(options=options)
    servicer = Servicer(engine_address)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def interrupted() -> None:
        # A terminal's Ctrl-C may reach us too. The engine must still get its answers, or it loses what was made: the first one only
        # cancels, as the engine itself would ask in a moment.
        if servicer.cancel():
            stop.set()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    loop.add_signal_handler(signal.SIGTERM, stop.set)

    def end() -> None:
        servicer.close()
        loop.call_soon_threadsafe(stop.set)

    _end_with_engine(end)
    await stop.wait()
    servicer.close()
    await server.stop(_DRAIN_S)


def serve(arguments: list[str]) -> None:
    """Serve until the engine is gone.

    Args:
        arguments: The command line: options that older engines pass (ignored), and the engine's address.
    """
    addresses = [argument for argument in arguments if not argument.startswith("-")]
    asyncio.run(_serve(addresses[-1] if addresses else ""))
    # Threads that still wait for a cluster must not keep us: the engine has stopped listening.
    sys.stdout.flush()
    os._exit(0)
