from __future__ import annotations

import asyncio
import itertools
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.load import draw
from local.load.arrivals import Phase, arrivals, percentile, phases
from local.load.client import AnswerError, Client, Recorder, Result, check_answer, request_bytes
from local.load.run import summarize
from local.load.sampler import Sample, find_scale, query_value

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

PLAN = phases(base_rps=8, surge_rps=110, seconds=60)


def test_phases_are_base_surge_base() -> None:
    assert [(phase.name, phase.seconds, phase.rps) for phase in PLAN] == [("base", 10, 8), ("surge", 40, 110), ("base", 10, 8)]


@pytest.mark.parametrize("wrong", [{"base_rps": 0}, {"surge_rps": 1}, {"seconds": 0}, {"base_rps": -1}])
def test_phases_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        phases(**({"base_rps": 8, "surge_rps": 110, "seconds": 60} | wrong))


def test_arrivals_are_a_poisson_process_of_the_given_rates() -> None:
    moments = list(arrivals(PLAN, seed=1))
    assert moments == sorted(moments)
    assert moments == list(arrivals(PLAN, seed=1))
    counts = [sum(low <= moment < high for moment in moments) for low, high in ((0, 10), (10, 50), (50, 60))]
    assert counts[0] == pytest.approx(80, abs=36)  # 4 standard deviations
    assert counts[1] == pytest.approx(4400, abs=266)
    gaps = [b - a for a, b in itertools.pairwise(moment for moment in moments if 10 <= moment < 50)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.1)  # of an exponential distribution they are the same


def test_a_phase_without_rate_sends_nothing() -> None:
    assert list(arrivals([Phase(name="x", seconds=5, rps=0)], seed=1)) == []


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_percentile_is_a_value_with_that_share_at_or_below(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6


def test_percentile_of_known_values() -> None:
    assert percentile([], 0.5) == 0.0
    assert percentile([1, 2, 3, 4], 0.5) == 2
    assert percentile(list(range(1, 101)), 0.99) == 99


# ------------------------------------------------------------------ the client
def answer(value: float, *, status: str = "200 OK") -> bytes:
    body = json.dumps({"outputs": [{"name": "OUTPUT", "data": [value]}]}).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_right_answer_passes() -> None:
    check_answer(answer(3.0), 3.0)


@pytest.mark.parametrize(
    ("got", "says"),
    [
        (b"", "closed after 0 bytes"),
        (answer(3.0)[:-4], "no inference"),
        (answer(3.0, status="503 Unavailable"), "503"),
        (answer(4.0), "sent 3, got 4"),
        (b"HTTP/1.1 200 OK\r\n\r\n{}", "no inference"),
        (b'HTTP/1.1 200 OK\r\n\r\n{"outputs": []}', "no inference"),
        (b"HTTP/1.1 200 OK\r\n\r\n[1]", "no inference"),
    ],
)
def test_wrong_answers_are_told(got: bytes, says: str) -> None:
    with pytest.raises(AnswerError, match=says):
        check_answer(got, 3.0)


def drive(serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], count: int) -> Recorder:
    async def run() -> Recorder:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        recorder = Recorder()
        async with server:
            client = Client(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", recorder)
            await client.send([0.001 * number for number in range(count)], time.monotonic(), asyncio.Event())
        return recorder

    return asyncio.run(run())


async def read_request(reader: asyncio.StreamReader) -> float:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    length = int(next(line for line in head.split("\r\n") if line.startswith("Content-Length")).split(":")[1])
    sent: Any = json.loads(await reader.readexactly(length))
    return float(sent["inputs"][0]["data"][0])


def test_client_sends_each_request_on_its_own_connection() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(answer(await read_request(reader)))
        await writer.drain()
        writer.close()

    recorder = drive(serve, 40)
    assert connections == recorder.sent == len(recorder.results) == 40
    assert recorder.failed == []
    assert recorder.in_flight == 0
    assert all(result.latency > 0 for result in recorder.results)


def test_client_counts_what_goes_wrong_and_goes_on() -> None:
    number = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        number += 1
        mine = number
        value = await read_request(reader)
        if mine % 2:
            writer.write(answer(value))
            await writer.drain()
        writer.close()

    recorder = drive(serve, 10)
    assert len(recorder.results) == 10
    assert len(recorder.failed) == 5


def test_client_survives_a_server_that_is_not_there() -> None:
    recorder = Recorder()
    asyncio.run(Client("http://127.0.0.1:9", recorder).send([0.0, 0.0], time.monotonic(), asyncio.Event()))
    assert len(recorder.failed) == 2


def test_client_stops_when_told() -> None:
    async def run() -> Recorder:
        recorder, stop = Recorder(), asyncio.Event()
        sending = asyncio.create_task(Client("http://127.0.0.1:9", recorder).send([3600.0], time.monotonic(), stop))
        await asyncio.sleep(0)
        stop.set()
        await sending
        return recorder

    assert asyncio.run(run()).sent == 0


def test_client_wants_plain_http() -> None:
    with pytest.raises(ValueError, match="https"):
        Client("https://127.0.0.1", Recorder())


def test_request_is_what_triton_takes() -> None:
    head, body = request_bytes("h:1", 7.0).split(b"\r\n\r\n")
    assert head.startswith(b"POST /v2/models/busy/infer HTTP/1.1\r\nHost: h:1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert json.loads(body) == {"inputs": [{"name": "INPUT", "shape": [1, 1], "datatype": "FP32", "data": [7.0]}]}


# ------------------------------------------------------------------ the cluster's view
def hpa(name: str, *, desired: int = 3) -> dict[str, Any]:
    return {
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": name}, "minReplicas": 1, "maxReplicas": 4},
        "status": {"currentReplicas": 1, "desiredReplicas": desired},
    }


def test_scale_is_read_from_hpa_and_deployment() -> None:
    deployments = {"items": [{"metadata": {"name": "triton"}, "status": {"replicas": 3, "readyReplicas": 2}}]}
    found = find_scale({"items": [hpa("other"), hpa("triton")]}, deployments, "triton")
    assert found is not None
    assert (found.current, found.ready, found.desired, found.minimum, found.maximum) == (3, 2, 3, 1, 4)


def test_nothing_scales_the_deployment() -> None:
    assert find_scale({"items": [hpa("other")]}, {"items": []}, "triton") is None
    assert find_scale({}, {}, "triton") is None


def test_hpa_without_status_counts_zero() -> None:
    fresh = hpa("triton")
    del fresh["status"]
    found = find_scale({"items": [fresh]}, {"items": []}, "triton")
    assert found is not None
    assert (found.current, found.desired) == (0, 0)


@pytest.mark.parametrize(
    ("result", "value"), [([], None), ([{"value": [1, "12.5"]}], 12.5), ([{"value": [1, "NaN"]}], None), ([{"value": [1, "0"]}], 0.0)]
)
def test_query_value(result: list[Any], value: float | None) -> None:
    assert query_value(json.dumps({"data": {"result": result}}).encode()) == value


# ------------------------------------------------------------------ numbers and pictures
def sample(t: float, ready: int | None, *, replicas: int | None = None, failed: int = 0) -> Sample:
    return Sample(
        t=t,
        replicas=ready if replicas is None else replicas,
        desired=ready,
        ready=ready,
        queue_ms=None if ready is None else 1.0,
        pending=None,
        rps=5,
        p50_ms=50,
        p99_ms=60,
        failed=failed,
    )


def recorder_of(*errors: str | None) -> Recorder:
    return Recorder(results=[Result(due=float(n), latency=0.05 * (n + 1), error=error) for n, error in enumerate(errors)], sent=len(errors))


def test_a_good_run() -> None:
    samples = [sample(5, 1), sample(20, 1), sample(30, 3), sample(45, None), sample(60, 3), sample(120, 1)]
    told = summarize(samples, recorder_of(None, None, None), PLAN, 1)
    assert told.is_good
    assert (told.replicas_before, told.replicas_peak, told.replicas_after) == (1, 3, 1)
    assert told.first_rise_s == 20
    assert told.back_at_minimum_s == 70
    assert told.p50_ms == pytest.approx(100)
    assert told.max_ms == pytest.approx(150)


def test_runs_that_are_not_good() -> None:
    rise_and_fall = [sample(5, 1), sample(30, 3), sample(120, 1)]
    assert not summarize(rise_and_fall, recorder_of(None, "lost"), PLAN, 1).is_good
    assert not summarize([sample(5, 1), sample(30, 1), sample(120, 1)], recorder_of(None), PLAN, 1).is_good
    assert not summarize([sample(5, 1), sample(30, 3), sample(120, 3)], recorder_of(None), PLAN, 1).is_good
    assert not summarize([], recorder_of(), PLAN, 1).is_good


def test_one_that_starts_above_the_minimum_has_to_rise_from_there() -> None:
    assert not summarize([sample(5, 2), sample(30, 2), sample(120, 1)], recorder_of(None), PLAN, 1).rose


def test_spark_has_gaps_and_a_full_block_at_the_top() -> None:
    assert draw.spark([0, 4, None, 2], 10, 4) == " █ ▄"
    assert draw.spark([], 10) == ""
    assert draw.spark([0, 0], 10) == "  "
    assert draw.spark([1, 2, 3, 4], 2) == "▆█"


def test_lines_show_what_is_unknown_as_unknown() -> None:
    assert "■■□" in draw.line(sample(5, 2, replicas=3))
    assert " - " in draw.line(sample(5, None))
    assert all(len(text) < 80 for text in draw.dashboard([sample(1, 1), sample(2, None)], "base", 4, 80))


def test_picture_is_written(tmp_path: Path) -> None:
    recorder = recorder_of(None, "lost")
    draw.picture(tmp_path / "out" / "load.png", [sample(5, 1), sample(30, None), sample(60, 3)], recorder.results, PLAN)
    assert (tmp_path / "out" / "load.png").read_bytes().startswith(b"\x89PNG")
