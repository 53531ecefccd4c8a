"""Debug messages arrive, all of them and in order, in few calls; what is no debug message arrives at once and after them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import grpc
import pytest
from pulumi.runtime.proto import engine_pb2

from components import debuglog
from components.debuglog import DebugLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message


def _request(message: str, severity: int = engine_pb2.DEBUG, urn: str = "") -> engine_pb2.LogRequest:
    return engine_pb2.LogRequest(severity=severity, message=message, urn=urn)  # type: ignore[arg-type]  # the enum's values are ints


class _Engine:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, str]] = []
        self.told = threading.Event()

    def log(self, request: Message) -> None:
        assert isinstance(request, engine_pb2.LogRequest)
        self.heard.append((request.severity, request.message))
        self.told.set()


@pytest.fixture(name="engine")
def fixture_engine() -> _Engine:
    return _Engine()


def test_messages_of_a_moment_are_one_call(engine: _Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debuglog, "PAUSE_S", 3600.0)
    log = DebugLog(engine.log)
    for text in ("a", "b", "c"):
        log(_request(text))
    assert engine.heard == []
    log.flush()
    log.flush()
    assert engine.heard == [(engine_pb2.DEBUG, "a\nb\nc")]


def test_they_are_sent_also_when_nothing_more_is_said(engine: _Engine) -> None:
    log = DebugLog(engine.log)
    log(_request("waits for a cluster"))
    assert engine.told.wait(60)
    assert engine.heard == [(engine_pb2.DEBUG, "waits for a cluster")]


@pytest.mark.parametrize(
    ("severity", "urn"), [(engine_pb2.WARNING, ""), (engine_pb2.ERROR, ""), (engine_pb2.INFO, ""), (engine_pb2.DEBUG, "urn:x")]
)
def test_what_is_more_than_that_goes_at_once_and_in_order(
    engine: _Engine, monkeypatch: pytest.MonkeyPatch, severity: int, urn: str
) -> None:
    monkeypatch.setattr(debuglog, "PAUSE_S", 3600.0)
    log = DebugLog(engine.log)
    log(_request("before"))
    log(_request("now", severity, urn))
    assert engine.heard == [(engine_pb2.DEBUG, "before"), (severity, "now")]


def test_an_engine_that_is_gone_is_no_error_for_those_and_one_for_the_rest() -> None:
    def fail(_: Message) -> None:
        raise grpc.RpcError

    log = DebugLog(fail)
    log(_request("a"))
    log.flush()
    with pytest.raises(grpc.RpcError):
        log(_request("b", engine_pb2.ERROR))


def test_without_an_engine_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mocked:
        """As tests' mocks: nothing to log to."""

    mocked = Mocked()
    monkeypatch.setattr(debuglog, "get_engine", lambda: mocked)
    debuglog.gather_debug_messages()
    assert not hasattr(mocked, "Log")
    monkeypatch.setattr(debuglog, "get_engine", lambda: None)
    debuglog.gather_debug_messages()


def test_the_engines_call_is_replaced_and_emptied_at_the_end(engine: _Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stub:
        """As the SDK's: calls are attributes."""

        Log = staticmethod(engine.log)

    at_exit: list[Callable[[], None]] = []
    stub = Stub()
    monkeypatch.setattr(debuglog, "PAUSE_S", 3600.0)
    monkeypatch.setattr(debuglog, "get_engine", lambda: stub)
    monkeypatch.setattr("atexit.register", at_exit.append)
    debuglog.gather_debug_messages()
    stub.Log(_request("last words"))
    assert engine.heard == []
    (end,) = at_exit
    end()
    assert engine.heard == [(engine_pb2.DEBUG, "last words")]
