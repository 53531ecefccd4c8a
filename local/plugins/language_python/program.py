"""What a program needs, and the command that runs it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def required_plugins(search_path: Iterable[str], versions: Mapping[str, str]) -> list[dict[str, Any]]:
    """Plugins that the installed ``pulumi_*`` packages need: name, version (with ``v``) and download server (may be empty).

    They are listed in the packages' ``pulumi-plugin.json``. As with the official host, a missing version means the package's own.
    """
    plugins: dict[tuple[str, str], dict[str, Any]] = {}
    seen: set[str] = set()
    for entry in search_path:
        folder = Path(entry)
        if not entry or not folder.is_dir():
            continue
        for file in sorted(folder.glob("*/pulumi-plugin.json")):
            package = file.parent.name
            if package in seen:
                continue
            seen.add(package)
            try:
                said = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if not isinstance(said, dict) or not said.get("resource") or said.get("parameterization"):
                continue
            name = said.get("name") or package.removeprefix("pulumi_").removeprefix("pulumi-")
            version = said.get("version") or versions.get(package.replace("_", "-"), "")
            if version and not version.startswith("v"):
                version = f"v{version}"
            plugins[name, version] = {"name": name, "version": version, "server": said.get("server") or ""}
    return list(plugins.values())


def exec_arguments(request: Any, executor: str) -> list[str]:
    """Arguments of pulumi-language-python-exec for a RunRequest, without empty ones; the program comes last."""
    program_directory = request.info.program_directory or request.pwd or "."
    named = {
        "project": request.project,
        "root_directory": request.info.root_directory,
        "stack": request.stack,
        "pwd": request.pwd or program_directory,
        "dry_run": "true" if request.dryRun else "",
        "parallel": str(request.parallel),
        "monitor": request.monitor_address,
        "organization": request.organization,
    }
    arguments = ["-u", executor]
    for name, value in named.items():
        if value:
            arguments += [f"--{name}", value]
    entry = request.info.entry_point or request.program or "."
    program = entry if Path(request.pwd or ".").resolve() == Path(program_directory).resolve() else str(Path(program_directory) / entry)
    return [*arguments, program, *request.args]


def find_executor() -> str | None:
    """Path of pulumi-language-python-exec: in the folder of this host's launcher, else on PATH."""
    sibling = Path(sys.argv[0]).resolve().parent / "pulumi-language-python-exec"
    return str(sibling) if sibling.exists() else shutil.which("pulumi-language-python-exec")
