"""Where files are: one cache for all instances, one state folder for each. Nothing in this module creates a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

APPLICATION: Final = "triton-fleet"
DEFAULT_INSTANCE: Final = "dev"
_INSTANCE: Final = re.compile(r"[a-z]([a-z0-9-]{0,14}[a-z0-9])?")


class InstanceNameError(ValueError):
    """An instance name that is not valid in names of control groups, folders and sockets."""


def _from_environment(variable: str, fallback: Path) -> Path:
    value = os.environ.get(variable, "").strip()
    return Path(value).expanduser().absolute() if value else fallback


def cache_root() -> Path:
    """The cache of tools, images and downloads, shared by all instances: ``$TRITON_FLEET_CACHE``, else in ``$XDG_CACHE_HOME``."""
    return _from_environment("TRITON_FLEET_CACHE", _from_environment("XDG_CACHE_HOME", Path.home() / ".cache") / APPLICATION)


def instance_name() -> str:
    """The instance of a command without ``--instance``: ``$TRITON_FLEET_INSTANCE``, else ``dev``."""
    return os.environ.get("TRITON_FLEET_INSTANCE", "").strip() or DEFAULT_INSTANCE


def check_instance(instance: str) -> str:
    """``instance`` itself.

    Raises:
        InstanceNameError: it is not 1 to 16 lowercase letters, digits and inner hyphens, starting with a letter.
    """
    if not _INSTANCE.fullmatch(instance):
        msg = (
            f"Instance name {instance!r} can't be used in names of folders, control groups and sockets: "
            "use 1 to 16 lowercase letters, digits and inner hyphens, starting with a letter."
        )
        raise InstanceNameError(msg)
    return instance


def state_root(instance: str) -> Path:
    """The folder of ``instance``: ``$TRITON_FLEET_HOME/<instance>``, else in ``$XDG_STATE_HOME``. It survives ``down``.

    Raises:
        InstanceNameError: the name is invalid.
    """
    home = _from_environment("TRITON_FLEET_HOME", _from_environment("XDG_STATE_HOME", Path.home() / ".local" / "state") / APPLICATION)
    return home / check_instance(instance)
