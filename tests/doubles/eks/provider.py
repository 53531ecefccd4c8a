"""The plugin: nothing but the component."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar

from tests.doubles.install import sdk_version
from tests.doubles.provider import Double


class Eks(Double):
    """See the package."""

    name: ClassVar[str] = "eks"
    version: ClassVar[str] = sdk_version("eks")

    def components(self, engine_address: str) -> Any:
        """The servicer of the Python SDK; imports it."""
        return importlib.import_module("tests.doubles.eks.component").servicer(self.world, engine_address)
