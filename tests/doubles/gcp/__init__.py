"""A double of the `gcp` plugin: Google's cloud in memory, whose every request is checked against Google's own API description.

`plugin` is what the engine starts. It holds inputs against the SDK's own properties (`shapes`), turns them into Google's bodies by tables
(`kinds` and its neighbours, `expand`) and calls `memory`, which holds each call and each answer against the discovery documents (`api`) and
knows what Google would refuse (`compute`, `container`, `pools`, `accounts`).
"""

from __future__ import annotations

from typing import Final

PLUGIN: Final = "gcp"
DOUBLE: Final = "tests.doubles.gcp.plugin:Gcp"
"""For `tests.doubles.install`."""
