"""Runtime options of a Pulumi project, and the Python that they select."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class OptionError(Exception):
    """An invalid runtime option in Pulumi.yaml."""


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """The Python that runs a program or a plugin."""

    executable: str
    virtualenv: Path | None

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """``base`` with the virtual environment activated."""
        environment = dict(base)
        if self.virtualenv is not None:
            environment["VIRTUAL_ENV"] = str(self.virtualenv)
            environment["PATH"] = f"{self.virtualenv / 'bin'}{os.pathsep}{environment.get('PATH', '')}"
            environment.pop("PYTHONHOME", None)
        return environment


@dataclass(frozen=True, kw_only=True)
class Options:
    """``runtime.options`` of Pulumi.yaml, PulumiPlugin.yaml or PulumiPolicy.yaml."""

    virtualenv: str | None
    toolchain: str
    typechecker: str | None

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> Options:
        """Parse the options. Raises OptionError for an unsupported toolchain or type checker."""
        toolchain = str(options.get("toolchain") or "pip").lower()
        if toolchain not in {"pip", "uv"}:
            message = (
                f"runtime.options.toolchain ({toolchain!r}) must be pip or uv with this language host. "
                "Set one of them, or install Pulumi's own release."
            )
            raise OptionError(message)
        typechecker = options.get("typechecker")
        if typechecker not in {None, "", "none", "mypy", "pyright"}:
            message = f"runtime.options.typechecker ({typechecker!r}) must be mypy, pyright or none."
            raise OptionError(message)
        virtualenv = str(options.get("virtualenv") or "") or (".venv" if toolchain == "uv" else None)
        return cls(virtualenv=virtualenv, toolchain=toolchain, typechecker=None if typechecker in {"", "none"} else typechecker)

    def virtualenv_path(self, root: Path) -> Path | None:
        """Path of the virtual environment, relative to ``root``, the folder of the project file; with uv also in its parents."""
        if self.virtualenv is None:
            return None
        given = Path(self.virtualenv).expanduser()
        if given.is_absolute():
            return given
        if self.toolchain == "uv":
            for folder in (root, *root.parents):
                if (folder / given / "bin" / "python").exists():
                    return folder / given
        return root / given

    def interpreter(self, root: Path) -> Interpreter:
        """Find the Python to run. Raises OptionError if the virtual environment is invalid or there is no Python."""
        virtualenv = self.virtualenv_path(root)
        if virtualenv is not None:
            python = virtualenv / "bin" / "python"
            if not python.exists():
                message = (
                    f"The 'virtualenv' option is set to {self.virtualenv!r}, but {virtualenv} is not a virtual environment. "
                    "Run `pulumi install` (or `make venv` in Triton Fleet) to create it."
                )
                raise OptionError(message)
            return Interpreter(executable=str(python), virtualenv=virtualenv)
        wanted = os.environ.get("PULUMI_PYTHON_CMD")
        for name in (wanted,) if wanted else ("python3", "python"):
            found = shutil.which(name)
            if found is not None:
                return Interpreter(executable=found, virtualenv=None)
        message = f"PATH has no Python ({wanted or 'python3, python'}): install it, or set runtime.options.virtualenv."
        raise OptionError(message)
