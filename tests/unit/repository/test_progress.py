"""What is said while models are sent."""

from __future__ import annotations

import pytest

from components.repository.progress import Meter, shown_bytes, status_line


def test_a_line_every_other_second_and_one_at_the_end() -> None:
    said: list[str] = []
    now = [0.0]
    meter = Meter(said.append, lambda: now[0])
    meter.begins(4, 400 << 20, 2)
    for _ in range(4):
        for _ in range(10):
            now[0] += 0.25
            meter.sent(10 << 20)
        meter.file_done()
    assert said == [
        "uploading 4 files, 400 MiB, 2 more are in the bucket already",
        "0/4 files, 80.0 MiB of 400 MiB, 40.0 MiB/s, 8s left",
        "1/4 files, 160 MiB of 400 MiB, 40.0 MiB/s, 6s left",
        "2/4 files, 240 MiB of 400 MiB, 40.0 MiB/s, 4s left",
        "3/4 files, 320 MiB of 400 MiB, 40.0 MiB/s, 2s left",
        "3/4 files, 400 MiB of 400 MiB, 40.0 MiB/s",
        "4/4 files, 400 MiB of 400 MiB, 40.0 MiB/s",
    ]


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 40, "5.0 TiB"), (5000 << 40, "5000 TiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert shown_bytes(count) == text


def test_without_an_engine_nothing_happens() -> None:
    status_line("urn")("text")
