"""The tools of the embedded platform and the tests: pinned in one manifest, fetched or built into one cache.

Start with `Toolchain`. Versions and sources are in `local.toolchain.manifest`.
"""

from local.toolchain.errors import ToolchainError
from local.toolchain.toolchain import Located, Toolchain

__all__ = ["Located", "Toolchain", "ToolchainError"]
