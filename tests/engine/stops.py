"""An update that is stopped on its way."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from pulumi import automation as auto

from tests.engine.kubelet import pulumi_process
from tests.servers import PATIENCE_S, eventually

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable

    from tests.engine.stacks import Stack


def stop_up(it: Stack, number: signal.Signals, when: Callable[[], bool]) -> None:
    """Begin `up`, and send the engine a signal as soon as ``when`` says so. Fails unless the update fails."""
    caught: list[Exception] = []

    def run() -> None:
        try:
            it.up()
        except auto.CommandError as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    eventually(when, "the moment to stop")
    os.kill(pulumi_process(), number)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert caught
