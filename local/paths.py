"""Where files live: one cache for all instances, one state folder an instance. Nothing here creates a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

APPLICATION: Final = "triton-fleet"
DEFAULT_INSTANCE: Final = "dev"
_INSTANCE: Final = re.compile(r"[a-z]([a-z0-9-]{0,14}[a-z0-9])?")


class InstanceNameError(ValueError):
    """An instance name that can't be used in cgroup, folder and socket names."""


def _from_environment(variable: str, fallback: Path) -> Path:
    value = os.environ.get(variable, "").strip()
    return Path(value).expanduser().absolute() if value else fallback


def cache_root() -> Path:
    """The cache of tools, images and downloads, shared by every instance: ``$TRITON_FLEET_CACHE``, else below ``$XDG_CACHE_HOME``."""
    return _from_environment("TRITON_FLEET_CACHE", _from_environment("XDG_CACHE_HOME", Path.home() / ".cache") / APPLICATION)


def instance_name() -> str:
    """The instance that a command without ``--instance`` means: ``$TRITON_FLEET_INSTANCE``, else ``dev``."""
    return os.environ.get("TRITON_FLEET_INSTANCE", "").strip() or DEFAULT_INSTANCE


def check_instance(instance: str) -> str:
    """``instance`` itself.

    Raises:
        InstanceNameError: it is not 1 to 16 lower-case letters, digits and inner hyphens, starting with a letter.
    """
    if not _INSTANCE.fullmatch(instance):
        msg = (
            f"Instance name {instance!r} can't name a folder, a cgroup and a socket: "
            "use 1 to 16 lower-case letters, digits and inner hyphens, starting with a letter."
        )
        raise InstanceNameError(msg)
    return instance


def state_root(instance: str) -> Path:
    """The folder of ``instance``: ``$TRITON_FLEET_HOME/<instance>``, else below ``$XDG_STATE_HOME``. It survives ``down``.

    Raises:
        InstanceNameError: the name can't be used.
    """
    home = _from_environment("TRITON_FLEET_HOME", _from_environment("XDG_STATE_HOME", Path.home() / ".local" / "state") / APPLICATION)
    return home / check_instance(instance)
