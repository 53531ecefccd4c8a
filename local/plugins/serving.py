"""Serve a provider written in Python until it is asked to stop or the engine exits.

Import it after `light_packages`: of the SDK it needs only the protocol's modules.
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
Context: TypeAlias = Any  # grpc.aio.ServicerContext, whose type stubs omit abort_with_status

MAX_MESSAGE: Final = 400 * 1024 * 1024
"""Bytes: the engine's limit."""
_PARENT_POLL_S: Final = 1.0
_DRAIN_S: Final = 0.2


class Plugin(provider_pb2_grpc.ResourceProviderServicer):
    """Base class of a provider's servicer.

    Attributes:
        title: The plugin's name in messages about its bugs.
        expected: Exceptions that are not bugs of the plugin.
        broken: The exception for a resource that exists but is not healthy; `broken_status` converts it for the engine.
    """

    title: str
    expected: tuple[type[Exception], ...]
    broken: type[Exception]

    def __init__(self, engine_address: str, *, threads: int) -> None:
        """Serve the engine at ``engine_address`` (host:port); blocking work runs in ``threads`` threads."""
        self._engine_address = engine_address
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="rpc")

    async def _run(self, context: Context, work: Callable[[], T]) -> T:
        """Run blocking work in a thread; convert exceptions to statuses."""
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
            print(trace, file=sys.stderr)  # the engine shows the plugin's output to the user
            await context.abort(grpc.StatusCode.INTERNAL, f"a bug in {self.title}: {type(error).__name__}: {error}\n{trace}")
            raise

    def broken_status(self, error: Any) -> grpc.Status:
        """Convert ``broken`` with `init_failed`."""
        raise NotImplementedError

    # --- stopping

    def cancel(self) -> bool:
        """End every wait; return whether it was already cancelled."""
        raise NotImplementedError

    def close(self) -> None:
        """Stop all work and clean up. May be called from any thread, and twice."""
        self.cancel()

    async def Cancel(self, _: Any, __: Context) -> Any:
        """End every wait, because the user pressed Ctrl-C."""
        self.cancel()
        return empty_pb2.Empty()

    # --- the engine

    async def Handshake(self, request: Any, _: Context) -> Any:
        """Report supported features; newer engines call this first."""
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
        """Accept every input of the provider; Configure rejects invalid ones."""
        return provider_pb2.CheckResponse(inputs=request.news)


def engine_address(arguments: Sequence[str]) -> str:
    """The engine's address in a plugin's command line, to which older engines add options; empty without one."""
    addresses = [argument for argument in arguments if not argument.startswith("-")]
    return addresses[-1] if addresses else ""


def serve(make: Callable[[], Plugin]) -> None:
    """Serve a provider on a free port on loopback, print the port, and exit the process when the engine exits.

    Args:
        make: Creates the servicer, in the event loop.
    """
    asyncio.run(_serve(make))
    # Do not wait for threads that still wait for a cluster or a cloud: the engine no longer listens.
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
        # A terminal's Ctrl-C may also reach this process. The engine must still get its responses, or it loses what was created: the first
        # Ctrl-C only cancels, as the engine is about to request.
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
    """Call ``end`` when the engine exits, even if it is killed: otherwise the plugin would make changes during the next update.

    The engine keeps this process's standard input open, so its end means the engine's end. If it is not a pipe (a debugger's terminal),
    only the parent process is watched.
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
    """A status with details, as gRPC expects it."""

    def __init__(self, message: str, packed: bytes) -> None:
        self.code = grpc.StatusCode.UNKNOWN
        self.details = message
        self.trailing_metadata = (("grpc-status-details-bin", packed),)


def init_failed(message: str, *, resource_id: str, properties: Any, reasons: Sequence[str], inputs: Any = None) -> grpc.Status:
    """The status for a resource that exists but is not healthy: the engine keeps its state.

    Args:
        message: For the user.
        resource_id: Its ID.
        properties: Its encoded state.
        reasons: What is wrong.
        inputs: Its encoded inputs, if they must be kept too.
    """
    detail = provider_pb2.ErrorResourceInitFailed(id=resource_id, properties=properties, reasons=reasons)
    if inputs is not None:
        detail.inputs.CopyFrom(inputs)
    packed = any_pb2.Any()
    packed.Pack(detail)
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=message)
    status.details.add().CopyFrom(packed)
    return _Status(message, status.SerializeToString())
