"""Import the protocol's modules without the SDK: `import pulumi` takes most of a second, and only components need it.

`light_packages` replaces `pulumi`, `pulumi.runtime` and `pulumi.runtime.proto` with empty packages, from which the protocol's modules can
be imported; `whole_packages` removes the empty packages and imports the SDK. The protocol's modules stay loaded, because a message class
must not exist twice.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
import types
from pathlib import Path

_EMPTY: dict[str, types.ModuleType] = {}
_lock = threading.Lock()


def light_packages() -> None:
    """Make the protocol's modules importable quickly. Does nothing if the SDK is already loaded."""
    if "pulumi" in sys.modules:
        return
    spec = importlib.util.find_spec("pulumi")
    if spec is None or spec.origin is None:
        sys.exit("The Python that runs this Pulumi plugin has no `pulumi` package: run `make doctor`.")
    root = Path(spec.origin).parent
    for name, folder in (("pulumi", root), ("pulumi.runtime", root / "runtime"), ("pulumi.runtime.proto", root / "runtime" / "proto")):
        module = types.ModuleType(name)
        module.__path__ = [str(folder)]
        sys.modules[name] = _EMPTY[name] = module


def whole_packages() -> None:
    """Import the SDK itself, once."""
    with _lock:
        for name, module in list(_EMPTY.items()):
            if sys.modules.get(name) is module:
                del sys.modules[name]
        _EMPTY.clear()
        importlib.import_module("pulumi")
