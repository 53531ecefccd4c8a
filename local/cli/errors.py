"""Errors that a command reports without a traceback."""

from __future__ import annotations


class Terminated(KeyboardInterrupt):
    """SIGTERM. Unlike Ctrl-C, only this process receives it, so it must be passed on to child processes."""


class CommandError(Exception):
    """A command can't continue. The message, which is all that the user sees, names the cause, the consequence and the remedy."""
