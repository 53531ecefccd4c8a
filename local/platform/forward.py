"""Carries connections from the machine's 127.0.0.1 to addresses inside the node.

The listening sockets were made outside, before the node had namespaces; a socket stays in the network it was made in. This process lives
inside, accepts on them, and dials inside. It never dials out, since nothing leads out.

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
    """One direction until its end; then the other side learns of the end, while its own direction goes on."""
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except (OSError, RuntimeError):
        # One side broke off: the other must not wait for what never comes.
        writer.close()


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: tuple[str, int]) -> None:
    """Join an accepted connection with a new one to ``target``; a target that does not answer closes it."""
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
    """Accept on every listener until cancelled."""
    servers = []
    for listener, target in listeners:
        listener.setblocking(False)  # noqa: FBT003 - the method takes it so

        async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: tuple[str, int] = target) -> None:
            await carry(reader, writer, target)

        servers.append(await asyncio.start_server(accepted, sock=listener, limit=_CHUNK, backlog=_BACKLOG))
    await asyncio.gather(*(server.serve_forever() for server in servers))


def parse(argument: str) -> tuple[int, tuple[str, int]]:
    """``FD=ADDRESS:PORT`` taken apart.

    Raises:
        ValueError: it is not of that form.
    """
    descriptor, _, target = argument.partition("=")
    address, _, port = target.rpartition(":")
    if not address:
        msg = f"{argument!r} is not FD=ADDRESS:PORT"
        raise ValueError(msg)
    return int(descriptor), (address, int(port))


def main(arguments: list[str]) -> int:
    """Entry point of the process."""
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
