"""How a plugin ends. The engine sends `Cancel` and then an interrupt; without an answer to `Cancel` it reports "exited prematurely"."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

THREADS = 2
PLUGIN = f"""
import threading
from local.plugins.light import light_packages
light_packages()
from local.plugins import serving
from pulumi.runtime.proto import provider_pb2

class Cancelled(Exception):
    pass

class Waiting(serving.Plugin):
    title, expected, broken = "the waiting plugin", (Cancelled,), KeyError
    cancelled = threading.Event()

    def cancel(self):
        before = self.cancelled.is_set()
        self.cancelled.set()
        return before

    async def Read(self, request, context):
        def work():
            print("waits", flush=True)
            self.cancelled.wait()
            raise Cancelled("cancelled")
        return await self._run(context, work)

serving.serve(lambda: Waiting("", threads={THREADS}))
"""


@pytest.fixture
def plugin() -> Iterator[subprocess.Popen[str]]:
    """A plugin whose `Read` waits until it is cancelled, in a process of its own."""
    with subprocess.Popen([sys.executable, "-c", PLUGIN], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_cancel_is_answered_while_every_thread_waits(plugin: subprocess.Popen[str]) -> None:
    """`Cancel` must not queue behind the calls that it ends."""
    assert plugin.stdout is not None
    with grpc.insecure_channel(f"127.0.0.1:{int(plugin.stdout.readline())}") as channel, ThreadPoolExecutor(2 * THREADS) as callers:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)

        def read() -> str:
            with pytest.raises(grpc.RpcError) as raised:
                stub.Read(provider_pb2.ReadRequest())
            return str(raised.value.details())

        reads = [callers.submit(read) for _ in range(2 * THREADS)]
        for _ in range(THREADS):
            assert plugin.stdout.readline() == "waits\n"
        stub.Cancel(empty_pb2.Empty(), timeout=60)
        assert [answer.result(60) for answer in reads] == ["cancelled"] * 2 * THREADS
        # The engine interrupts what has acknowledged `Cancel`, and kills it 5 s later.
        plugin.send_signal(signal.SIGINT)
        assert plugin.wait(60) == 0


def test_a_first_interrupt_only_cancels(plugin: subprocess.Popen[str]) -> None:
    """After a Ctrl-C in a terminal, the engine still needs the answers of the calls that the plugin is working on."""
    assert plugin.stdout is not None
    with grpc.insecure_channel(f"127.0.0.1:{int(plugin.stdout.readline())}") as channel, ThreadPoolExecutor(1) as caller:
        stub = provider_pb2_grpc.ResourceProviderStub(channel)
        answer = caller.submit(lambda: stub.Read.with_call(provider_pb2.ReadRequest()))
        assert plugin.stdout.readline() == "waits\n"
        plugin.send_signal(signal.SIGINT)
        error = answer.exception(60)
        assert isinstance(error, grpc.RpcError)
        assert error.details() == "cancelled"
        stub.Cancel(empty_pb2.Empty(), timeout=60)
        assert plugin.poll() is None


def test_it_ends_with_the_engine(plugin: subprocess.Popen[str]) -> None:
    """The engine holds the plugin's standard input open for as long as it runs."""
    assert plugin.stdin is not None
    assert plugin.stdout is not None
    plugin.stdout.readline()
    plugin.stdin.close()
    assert plugin.wait(60) == 0
