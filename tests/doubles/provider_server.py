"""A double over gRPC: requests to calls, results to responses, faults and the journal around each operation.

One asyncio server. Doubles block (they ask a cloud and wait for it), so each call has a thread.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import grpc
import grpc.aio
from google.protobuf import empty_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2

from local.plugins import serving
from local.plugins.kubernetes.diff import Change
from local.plugins.kubernetes.paths import path_text
from local.plugins.kubernetes.properties import decode, encode, keep_secret, reveal
from local.plugins.light import whole_packages
from tests.doubles.clock import Cancelled
from tests.doubles.provider import DEFAULTS, Call, Double, DoubleError, InitFailed, World, without_defaults, world

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.doubles.faults import Fault

T = TypeVar("T")
Context: TypeAlias = Any  # grpc.aio.ServicerContext, whose types know nothing of abort_with_status

_THREADS: Final = 256
"""Waits sleep in them; a program's parallelism is at most this."""
_RETRIES: Final = 25
"""Attempts of the AWS provider (`maxRetries`) and, within a few, of Google's, at an operation that is throttled."""
_BACKOFF_MAX_S: Final = 20.0
_BLOCKED_RETRY_S: Final = 10.0
_BLOCKED_RETRIES: Final = 90
"""Attempts at a delete that something else still blocks: 15 minutes, the shortest of the AWS provider's (security groups)."""

_MESSAGES: Final = {
    "quota": "LimitExceededException: the limit of this account for {type} is reached",
    "throttling": "ThrottlingException: Rate exceeded",
    "refused": "{operation} of {type} {name} was refused",
    "dependency": "DependencyViolation: {id} has dependencies and cannot be deleted",
}
_KINDS: Final = {Change.ADD: "ADD", Change.DELETE: "DELETE", Change.UPDATE: "UPDATE"}


def message_of(fault: Fault, call: Call) -> str:
    """What the cloud says when ``fault`` happens to ``call``."""
    text = fault.message or _MESSAGES.get(fault.kind, "{type} {name} is broken")
    for key, value in {"type": call.token, "name": call.name, "operation": call.operation, "id": call.id}.items():
        text = text.replace(f"{{{key}}}", value)
    return text


def perform(provider: str, shared: World, call: Call, work: Callable[[], T]) -> T:
    """Do ``work`` with what is to go wrong with it, between two lines of the journal."""
    shared.journal.write(
        call.number,
        "begin",
        provider=provider,
        operation=call.operation,
        urn=call.urn,
        type=call.token,
        name=call.name,
        preview=call.preview,
    )
    try:
        # A preview asks nothing of the cloud but what functions read.
        fault = None if call.preview else shared.faults.take(call.token, call.name, call.operation)
        result = _with_fault(shared, call, fault, work)
    except BaseException as error:
        shared.journal.write(call.number, "end", error=f"{type(error).__name__}: {error}")
        raise
    shared.journal.write(call.number, "end", error=None)
    return result


def _with_fault(shared: World, call: Call, fault: Fault | None, work: Callable[[], T]) -> T:
    attempt = 0
    while fault is not None and fault.kind in ("throttling", "dependency"):
        attempt += 1
        message = message_of(fault, call)
        call.note(message)
        if attempt >= (_RETRIES if fault.kind == "throttling" else _BLOCKED_RETRIES):
            raise DoubleError(f"{call.operation} of {call.name}: {message} (after {attempt} attempts)")
        shared.clock.wait(min(2.0**attempt / 2, _BACKOFF_MAX_S) if fault.kind == "throttling" else _BLOCKED_RETRY_S)
        fault = shared.faults.take(call.token, call.name, call.operation)
    if fault is None:
        return work()
    if fault.kind == "lost":
        work()
        os._exit(1)  # as a killed plugin: made, and nobody is told
    if fault.kind == "createFailed":
        call.broken = fault
        result = work()
        shared.clock.wait(fault.delay)
        # Doubles with a waiter have failed in it; to all others the same happens once they are made.
        if isinstance(result, tuple):
            raise InitFailed(message_of(fault, call), resource_id=str(result[0]), state=dict(result[1]))
        return result
    raise DoubleError(message_of(fault, call))


class Servicer(serving.Plugin):
    """One provider instance."""

    expected = (DoubleError, Cancelled)
    broken = InitFailed

    def __init__(self, kind: type[Double], engine_address: str) -> None:
        super().__init__(engine_address, threads=_THREADS)
        self._world = world()
        self._double = kind(self._world)
        self.title = f"the double of {self._double.name}"
        self._components: Any = None
        self._import_lock = asyncio.Lock()

    def broken_status(self, error: InitFailed) -> grpc.Status:
        """Of a resource that turned out broken: it is there, and its state is kept."""
        return serving.init_failed(str(error), resource_id=error.resource_id, properties=encode(error.state), reasons=[str(error)])

    def cancel(self) -> bool:
        """End every wait. Returns whether that had been asked for before."""
        before = self._world.clock.cancelled.is_set()
        self._world.clock.cancelled.set()
        return before

    def _call(self, operation: str, request: Any, **more: Any) -> Call:
        token = request.type or request.urn.split("::")[2].rsplit("$", 1)[-1]
        name = request.name or request.urn.split("::", 3)[3]
        return Call(world=self._world, operation=operation, token=token, name=name, urn=request.urn, **more)

    # --- the plugin itself

    async def GetPluginInfo(self, _: Any, __: Context) -> Any:
        return plugin_pb2.PluginInfo(version=self._double.version)

    async def GetSchema(self, _: Any, __: Context) -> Any:
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": self._double.name, "version": self._double.version}))

    # --- configuration

    async def DiffConfig(self, request: Any, _: Context) -> Any:
        olds, news = reveal(decode(request.old_inputs) or decode(request.olds)), reveal(decode(request.news))
        changed = sorted(key for key in {*olds, *news} if olds.get(key) != news.get(key))
        changes = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=changes, diffs=changed)

    async def Configure(self, request: Any, context: Context) -> Any:
        prefix = f"{self._double.name}:config:"
        variables = {key.removeprefix(prefix): _json_or_text(value) for key, value in request.variables.items()}
        await self._run(context, lambda: self._double.configure(variables))
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True)

    # --- functions and components

    async def Invoke(self, request: Any, context: Context) -> Any:
        call = Call(world=self._world, operation="invoke", token=request.tok, inputs=reveal(decode(request.args)))
        found = await self._run(context, lambda: perform(self._double.name, self._world, call, lambda: self._double.invoke(call)))
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(encode(found))
        return response

    async def Construct(self, request: Any, context: Context) -> Any:
        async with self._import_lock:
            if self._components is None:
                self._components = await self._run(context, self._load_components)
        call = Call(world=self._world, operation="construct", token=request.type, name=request.name, preview=request.dryRun)
        await self._run(context, lambda: perform(self._double.name, self._world, call, lambda: None))
        try:
            return await self._components.Construct(request, context)
        except Exception as error:
            if context.done():
                raise
            await context.abort(grpc.StatusCode.UNKNOWN, str(error))
            raise

    def _load_components(self) -> Any:
        whole_packages()
        found = self._double.components(self._engine_address)
        if found is None:
            raise DoubleError(f"the double of {self._double.name} makes no components")
        return found

    # --- resources

    async def Check(self, request: Any, context: Context) -> Any:
        news = decode(request.news)
        call = self._call(
            "check",
            request,
            inputs=reveal(news),
            olds=reveal(decode(request.olds)),
            seed=request.randomSeed,
            proposed_name=request.autonaming.proposed_name if request.HasField("autonaming") else "",
        )
        result = await self._run(context, lambda: self._double.check(call))
        failures = [provider_pb2.CheckFailure(property=name, reason=reason) for name, reason in result.failures]
        return provider_pb2.CheckResponse(inputs=encode(keep_secret(result.inputs, news)), failures=failures)

    async def Diff(self, request: Any, context: Context) -> Any:
        call = self._call(
            "diff",
            request,
            id=request.id,
            inputs=reveal(decode(request.news)),
            olds=reveal(decode(request.olds)),
            old_inputs=reveal(decode(request.old_inputs)),
        )
        result = await self._run(context, lambda: self._double.diff(call))
        details = {
            path_text(path): provider_pb2.PropertyDiff(
                kind=provider_pb2.PropertyDiff.Kind.Value(_KINDS[item.change] + ("_REPLACE" if item.replace else "")), inputDiff=True
            )
            for path, item in result.details.items()
        }
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if details else provider_pb2.DiffResponse.DIFF_NONE,
            replaces=[path_text(path) for path, item in result.details.items() if item.replace],
            deleteBeforeReplace=result.delete_first,
            diffs=sorted({str(path[0]) for path in result.details if path}),
            detailedDiff=details,
            hasDetailedDiff=True,
        )

    async def Create(self, request: Any, context: Context) -> Any:
        news = decode(request.properties)
        call = self._call("create", request, inputs=without_defaults(reveal(news)), preview=request.preview, timeout_s=request.timeout)

        def work() -> tuple[str, Any]:
            return ("", self._double.preview(call)) if call.preview else self._double.create(call)

        resource_id, state = await self._run(context, lambda: _keeping(news, lambda: perform(self._double.name, self._world, call, work)))
        return provider_pb2.CreateResponse(id=resource_id, properties=encode(keep_secret(state, news)))

    async def Update(self, request: Any, context: Context) -> Any:
        news = decode(request.news)
        call = self._call(
            "update",
            request,
            id=request.id,
            inputs=without_defaults(reveal(news)),
            olds=reveal(decode(request.olds)),
            old_inputs=without_defaults(reveal(decode(request.old_inputs))),
            preview=request.preview,
            timeout_s=request.timeout,
        )

        def work() -> Any:
            return self._double.preview_update(call) if call.preview else self._double.update(call)

        state = await self._run(context, lambda: _keeping(news, lambda: perform(self._double.name, self._world, call, work)))
        return provider_pb2.UpdateResponse(properties=encode(keep_secret(state, news)))

    async def Read(self, request: Any, context: Context) -> Any:
        olds, inputs = decode(request.properties), decode(request.inputs)
        call = self._call("read", request, id=request.id, inputs=without_defaults(reveal(inputs)), olds=reveal(olds))
        found = await self._run(context, lambda: perform(self._double.name, self._world, call, lambda: self._double.read(call)))
        if found is None:
            return provider_pb2.ReadResponse()
        state, now = keep_secret(keep_secret(found.state, olds), inputs), keep_secret(found.inputs, inputs)
        if DEFAULTS in inputs:
            now = {**now, DEFAULTS: inputs[DEFAULTS]}
        return provider_pb2.ReadResponse(id=found.id, properties=encode(state), inputs=encode(now))

    async def Delete(self, request: Any, context: Context) -> Any:
        call = self._call("delete", request, id=request.id, olds=reveal(decode(request.properties)), timeout_s=request.timeout)
        call.old_inputs = without_defaults(reveal(decode(request.old_inputs)))
        await self._run(context, lambda: perform(self._double.name, self._world, call, lambda: self._double.delete(call)))
        return empty_pb2.Empty()


def _keeping(news: Any, work: Callable[[], T]) -> T:
    """Do ``work``; what it keeps of a broken resource is secret where the inputs are."""
    try:
        return work()
    except InitFailed as error:
        error.state = keep_secret(error.state, news)
        raise


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value) if value[:1] in "[{" else value
    except ValueError:
        return value


def serve(kind: type[Double], arguments: list[str]) -> None:
    """Serve until the engine is gone.

    Args:
        kind: The double.
        arguments: The command line: options that older engines pass (ignored), and the engine's address.
    """
    serving.serve(lambda: Servicer(kind, serving.engine_address(arguments)))
