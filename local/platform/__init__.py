"""The embedded platform: one real Kubernetes node in its own Linux namespaces, reachable only through ports on 127.0.0.1."""

from local.platform.config import PlatformConfig, Ports
from local.platform.errors import PlatformError
from local.platform.platform import CONTROL_PLANE_TOOLS, NODE_TOOLS, Platform
from local.platform.preflight import Check
from local.platform.status import ComponentStatus, PlatformStatus

__all__ = [
    "CONTROL_PLANE_TOOLS",
    "NODE_TOOLS",
    "Check",
    "ComponentStatus",
    "Platform",
    "PlatformConfig",
    "PlatformError",
    "PlatformStatus",
    "Ports",
]
