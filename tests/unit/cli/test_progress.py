from __future__ import annotations

import io
import threading

import pytest

from local.progress import SilentReporter, TerminalReporter, about, duration


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (4200, "1 h 10 min"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "a moment"), (3, "about 5 s"), (42, "about 40 s"), (700, "about 12 min"), (7200, "about 2.0 h")]
)
def test_about(seconds: float, text: str) -> None:
    assert about(seconds) == text


def test_a_log_gets_numbered_lines_with_elapsed_and_what_is_left() -> None:
    stream, clock = io.StringIO(), Clock()
    reporter = TerminalReporter(stream, clock=clock)
    reporter.begin("Up", [("tools", 60.0), ("platform", 30.0)])
    with reporter.step("tools"):
        with reporter.step("etcd", 20.0):
            clock.now += 12
        reporter.note("a word")
    clock.now += 1
    with reporter.step("platform"):
        clock.now += 5
    assert stream.getvalue().splitlines() == [
        "Up: 2 steps, about 2 min",
        "[ 1/2] tools ... (about 60 s)",
        "  etcd ... (about 20 s)",
        "  etcd: done in 12 s",
        "  a word",
        "[ 1/2] tools: done in 12 s  (12 s in total, about 30 s left)",
        "[ 2/2] platform ... (about 30 s)",
        "[ 2/2] platform: done in 5.0 s  (18 s in total)",
    ]


def test_a_failure_is_shown_and_goes_on_up() -> None:
    stream, clock = io.StringIO(), Clock()
    reporter = TerminalReporter(stream, clock=clock)

    def work() -> None:
        with reporter.step("tools"):
            clock.now += 2
            message = "broken"
            raise RuntimeError(message)

    with pytest.raises(RuntimeError, match="broken"):
        work()
    assert stream.getvalue().splitlines()[-1] == "tools: FAILED after 2.0 s"


def test_quick_inner_steps_are_not_worth_a_line_in_a_log() -> None:
    stream, clock = io.StringIO(), Clock()
    reporter = TerminalReporter(stream, clock=clock)
    with reporter.step("tools"), reporter.step("looked up"):
        clock.now += 0.1
    assert "looked up" not in stream.getvalue()


def test_steps_of_several_threads_do_not_mix_up() -> None:
    stream = io.StringIO()
    reporter = TerminalReporter(stream)
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait()
        for _ in range(50):
            with reporter.step(f"job {number}"), reporter.step("part", 5.0):
                pass

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 8 * 50 * 4
    assert sum(line.startswith("  part") for line in lines) == 8 * 50 * 2


def test_silent_reporter_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = SilentReporter()
    with reporter.step("x", 1.0):
        reporter.note("y")
    assert capsys.readouterr() == ("", "")
