from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from local.platform import forward

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def forwarding(target: tuple[str, int]) -> AsyncIterator[tuple[str, int]]:
    listener = socket.create_server(("127.0.0.1", 0))
    address: tuple[str, int] = listener.getsockname()
    task = asyncio.create_task(forward.serve([(listener, target)]))
    try:
        yield address
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def serving(answer: object) -> AsyncIterator[tuple[str, int]]:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)  # type: ignore[arg-type]
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


async def test_bytes_go_both_ways_whole_and_in_order() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
            await writer.drain()
        writer.close()

    payload = bytes(range(256)) * 20_000
    async with serving(echo) as target, forwarding(target) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(payload)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(-1), 60) == payload
        writer.close()
        await writer.wait_closed()


async def test_the_end_of_one_direction_does_not_end_the_other() -> None:
    async def answer_after_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        everything = await reader.read(-1)
        writer.write(str(len(everything)).encode())
        writer.close()

    async with serving(answer_after_the_end) as target, forwarding(target) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"x" * 5000)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(-1), 60) == b"5000"
        writer.close()
        await writer.wait_closed()


async def test_a_target_that_refuses_closes_the_connection_and_the_next_one_works() -> None:
    with socket.socket() as bound:  # and not listening: it refuses, and no other process gets the port
        bound.bind(("127.0.0.1", 0))
        async with forwarding(bound.getsockname()) as address:
            for _ in range(3):
                reader, writer = await asyncio.open_connection(*address)
                with contextlib.suppress(ConnectionError):
                    assert await asyncio.wait_for(reader.read(1), 60) == b""
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()


async def test_many_at_once() -> None:
    async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    async with serving(upper) as target, forwarding(target) as address:

        async def ask(number: int) -> bytes:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(f"line {number}\n".encode())
            try:
                return await reader.read(-1)
            finally:
                writer.close()
                await writer.wait_closed()

        answers = await asyncio.wait_for(asyncio.gather(*(ask(number) for number in range(100))), 60)
    assert answers == [f"LINE {number}\n".encode() for number in range(100)]


def test_arguments() -> None:
    assert forward.parse("7=10.111.0.1:6443") == (7, ("10.111.0.1", 6443))
    with pytest.raises(ValueError, match="FD=ADDRESS:PORT"):
        forward.parse("7=6443")
