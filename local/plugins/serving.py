"""How a provider written in Python is served: until it is asked to end, or the engine is gone.

Imported after `light_packages`: it needs the protocol's modules and nothing else of the SDK.
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
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import grpc
import grpc.aio
from google.protobuf import any_pb2, empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
Context: TypeAlias = Any  # grpc.aio.ServicerContext, whose types know nothing of abort_with_status

MAX_MESSAGE: Final = 400 * 1024 * 1024
"""Bytes; the engine's own limit."""
_PARENT_POLL_S: Final = 1.0
_DRAIN_S: Final = 0.2


class Plugin(provider_pb2_grpc.ResourceProviderServicer):
    """A provider's servicer: what does not depend on what it provides.

    Attributes:
        title: What a mistake is said to be in.
        expected: Errors of the world, as opposed to mistakes in the plugin.
        broken: The error that says: it is there, and not as it should be. `broken_status` makes of it what the engine is told.
    """

    title: str
    expected: tuple[type[Exception], ...]
    broken: type[Exception]

    def __init__(self, engine_address: str, *, threads: int) -> None:
        """Serve the engine at an address (host:port), with so many threads: waits sleep in them."""
        self._engine_address = engine_address
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="rpc")

    async def _run(self, context: Context, work: Callable[[], T]) -> T:
        """Run blocking work in a thread; turn what it raises into a status."""
        try:
            copied = contextvars.copy_context()
            return await asyncio.get_running_loop().run_in_executor(self._threads, functools.partial(copied.run, work))
        except Exception as error:
            if isinstance(error, self.broken):
                await context.abort_with_status(self.broken_status(error))
                raise
            if isinstance(error, self.expected):
                await context.abort(grpc.StatusCode.UNKNOWN, str(error) or "cancelled")
                raise
            trace = "".join(traceback.format_exception(error))
            print(trace, file=sys.stderr)  # reaches the user's screen as the plugin's own output
            await context.abort(grpc.StatusCode.INTERNAL, f"a mistake in {self.title}: {type(error).__name__}: {error}\n{trace}")
            raise

    def broken_status(self, error: Any) -> grpc.Status:
        """See ``broken``: `init_failed` makes one."""
        raise NotImplementedError

    # --- how it ends

    def cancel(self) -> bool:
        """End every wait. Returns whether that had been asked for before."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop what is done and clean up after it. Called from any thread, and maybe twice."""
        self.cancel()

    async def Cancel(self, _: Any, __: Context) -> Any:
        """The user asked to stop: end every wait."""
        self.cancel()
        return empty_pb2.Empty()

    # --- whom it serves

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
        self._engine_address = address or self._engine_address

    async def GetMapping(self, _: Any, __: Context) -> Any:
        """No conversions from other tools."""
        return provider_pb2.GetMappingResponse()

    async def GetMappings(self, _: Any, __: Context) -> Any:
        """No conversions from other tools."""
        return provider_pb2.GetMappingsResponse()

    async def CheckConfig(self, request: Any, _: Context) -> Any:
        """Every input of the provider is taken; what can't be used is refused by Configure."""
        return provider_pb2.CheckResponse(inputs=request.news)


def engine_address(arguments: Sequence[str]) -> str:
    """The engine's address in a plugin's command line, where older engines pass options too; empty without one."""
    addresses = [argument for argument in arguments if not argument.startswith("-")]
    return addresses[-1] if addresses else ""


def serve(make: Callable[[], Plugin]) -> None:
    """Serve a provider on a free port of loopback, which is printed, until the engine is gone. Ends the process.

    Args:
        make: Makes the servicer, in the event loop.
    """
    asyncio.run(_serve(make))
    # Threads that still wait for a cluster or a cloud must not keep us: the engine has stopped listening.
    sys.stdout.flush()
    os._exit(0)


async def _serve(make: Callable[[], Plugin]) -> None:
    options = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)]
    server = grpc.aio.server(options=options)
    servicer = make()
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


def _end_with_engine(end: Callable[[], None]) -> None:
    """End when the engine is gone, however it went.

    A killed engine can't say goodbye; a plugin that goes on would change the cluster or the cloud under the next update. The engine holds
    our standard input open: its end is the engine's. Where that is no pipe (a debugger's terminal) our parent is looked at.
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


class _Status(grpc.Status):
    """A status with details, as grpc wants it."""

    def __init__(self, message: str, packed: bytes) -> None:
        self.code = grpc.StatusCode.UNKNOWN
        self.details = message
        self.trailing_metadata = (("grpc-status-details-bin", packed),)


def init_failed(message: str, *, resource_id: str, properties: Any, reasons: Sequence[str], inputs: Any = None) -> grpc.Status:
    """The status that tells the engine: it is there, keep its state, and it is not as it should be.

    Args:
        message: For people.
        resource_id: Its id.
        properties: Its state, encoded.
        reasons: What is wrong with it.
        inputs: Encoded, where they are to be kept too.
    """
    detail = provider_pb2.ErrorResourceInitFailed(id=resource_id, properties=properties, reasons=reasons)
    if inputs is not None:
        detail.inputs.CopyFrom(inputs)
    packed = any_pb2.Any()
    packed.Pack(detail)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=message)
    status.details.add().CopyFrom(packed)
    return _Status(message, status.SerializeToString())
