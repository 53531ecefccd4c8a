"""What a command reports instead of a traceback."""

from __future__ import annotations


class Terminated(KeyboardInterrupt):
    """SIGTERM: as Ctrl-C, but only this process got it, so that it has to be passed on to what runs below."""


class CommandError(Exception):
    """A command can't go on. The message names the thing, the consequence and the remedy; it is all that the user sees."""
