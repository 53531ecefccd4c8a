"""Forward connections from the machine's 127.0.0.1 to addresses in the node.

The listening sockets are created outside, before the node has namespaces; a socket stays in the network namespace in which it was created.
This process runs in the node, accepts connections on them, and connects to addresses in the node.

Run as ``python -m local.platform.forward FD=ADDRESS:PORT ...``.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from typing import Final

_CHUNK: Final = 256 * 1024
_CONNECT_TIMEOUT_S: Final = 5.0
_BACKLOG: Final = 512


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction until its end, then signal the end to the other side, whose own direction continues."""
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except (OSError, RuntimeError):
        # One side disconnected: close the other, which would wait forever.
        writer.close()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: tuple[str, int]) -> None:
    """Connect an accepted connection to ``target``; close it if the target does not answer."""
    try:
        inner_reader, inner_writer = await asyncio.wait_for(asyncio.open_connection(*target, limit=_CHUNK), _CONNECT_TIMEOUT_S)
    except (OSError, TimeoutError):
        writer.transport.abort()
        return
    for stream in (writer, inner_writer):
        connection = stream.get_extra_info("socket")
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
    finally:
        for stream in (writer, inner_writer):
            stream.close()
            with contextlib.suppress(OSError):
                await stream.wait_closed()


async def serve(listeners: list[tuple[socket.socket, tuple[str, int]]]) -> None:
    """Accept connections on every listener until cancelled."""
    servers = []
    for listener, target in listeners:
        listener.setblocking(False)  # noqa: FBT003 - the method takes it so

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: tuple[str, int] = target) -> None:
            await carry(reader, writer, target)

        servers.append(await asyncio.start_server(accepted, sock=listener, limit=_CHUNK, backlog=_BACKLOG))
    await asyncio.gather(*(server.serve_forever() for server in servers))


def parse(argument: str) -> tuple[int, tuple[str, int]]:
    """Parse ``FD=ADDRESS:PORT``.

    Raises:
        ValueError: another format.
    """
    descriptor, _, target = argument.partition("=")
    address, _, port = target.rpartition(":")
    if not address:
        msg = f"{argument!r} must be FD=ADDRESS:PORT"
        raise ValueError(msg)
    return int(descriptor), (address, int(port))


def main(arguments: list[str]) -> int:
    """Run the forwarder until SIGTERM or SIGINT."""
    listeners = [(socket.socket(fileno=descriptor), target) for descriptor, target in map(parse, arguments)]

    async def run() -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(serve(listeners))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
