"""Tools that the embedded platform and the tests run: pinned in one manifest, fetched or built into one cache.

Start with `Toolchain`. What is pinned, and how each tool is come by, is in `local.toolchain.manifest`.
"""

from local.toolchain.errors import ToolchainError
from local.toolchain.toolchain import Located, Toolchain

__all__ = ["Located", "Toolchain", "ToolchainError"]
