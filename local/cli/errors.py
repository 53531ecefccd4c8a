"""What a command reports instead of a traceback."""

from __future__ import annotations


class CommandError(Exception):
    """A command can't go on. The message names the thing, the consequence and the remedy; it is all that the user sees."""
