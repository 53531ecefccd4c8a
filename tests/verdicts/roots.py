"""Find model repositories below a folder, and copy them into a form that a server without GPUs can judge."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from google.protobuf import text_format

from components.repository.validation.backends import resolve
from components.repository.validation.schema import schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from components.repository.validation.files import Kind

_CONFIG: Final = re.compile(rb"\b(max_batch_size|instance_group|ensemble_scheduling|(platform|backend)\s*:)")
_GRAPH: Final = re.compile(rb"^\s*(node|item|library|device_stats)\s*\{", re.MULTILINE)
"""TensorFlow's graphs and label maps have the same extension."""
_NAME: Final = re.compile(r'^name\s*:\s*["\']([^"\']+)', re.MULTILINE)
_SAFE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_BACKEND: Final = re.compile(rb"\bbackend\s*:\s*[\"']([A-Za-z0-9_.-]+)[\"']")
_RUNTIME: Final = re.compile(rb"\bruntime\s*:\s*[\"'](libtriton_[A-Za-z0-9_.-]+)[\"']")
_AGENTS: Final = re.compile(rb"\bmodel_repository_agents\b[^\0]*")
_AGENT: Final = re.compile(rb"\bname\s*:\s*[\"']([A-Za-z0-9_-]+)[\"']")
_GPU: Final = re.compile(rb"\bKIND_GPU\b")
_GPUS: Final = re.compile(rb"\bgpus\s*:\s*(\[[^\]]*\]|\d+)")
_STEP: Final = re.compile(rb"\bmodel_name\s*:\s*[\"']([^\"']+)[\"']")
_VERSION: Final = re.compile(r"\d+")
_LARGEST_CONFIG: Final = 4 << 20
_PACK: Final = 200
"""Loose configurations that share a server, and are judged again together after an interruption."""

BUILT_IN: Final = ("dali", "fil", "onnxruntime", "openvino", "python", "pytorch", "tensorflow", "tensorrt", "tensorrtllm", "vllm")
"""Backends that a model's platform or files can select without naming them."""

_LIBRARY: Final = """
typedef void* P;
P TRITONBACKEND_ResponseNew(P* response, P request);
P TRITONBACKEND_ResponseSend(P response, unsigned flags, P error);
P TRITONBACKEND_RequestRelease(P request, unsigned flags);
P TRITONREPOAGENT_ModelAction(P agent, P model, unsigned action) { return 0; }
P TRITONBACKEND_ModelInstanceExecute(P instance, P* requests, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    P response;
    if (!TRITONBACKEND_ResponseNew(&response, requests[i])) TRITONBACKEND_ResponseSend(response, 1, 0);
    TRITONBACKEND_RequestRelease(requests[i], 1);
  }
  return 0;
}
"""
"""A backend that answers each request (a warm-up has some) with an empty response, and a repository agent. Other functions are optional."""

_MODEL: Final = "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
"""The only file in an added version directory: it selects the Python backend for a configuration that names none."""


@dataclass(kw_only=True)
class Root:
    """A model repository to judge."""

    place: str
    """Where it is from, for messages."""
    models: dict[str, Path] = field(default_factory=dict)
    """Folder of each model or, if ``is_loose``, its config.pbtxt."""
    is_loose: bool = False


def find(folder: Path, *, each: bool = False) -> list[Root]:
    """Find the repositories below ``folder``, and the configurations outside of one, wrapped into layouts of their own.

    A folder with a config.pbtxt, or with a version directory that contains a ``model.*``, is a model, and its parent a repository.

    Args:
        folder: is searched without following links.
        each: wrap also the configurations of repositories: those of models that share a repository hide nothing from one another then.
    """
    roots: dict[Path, Root] = {}
    loose: dict[bytes, Path] = {}
    for path in _files(folder):
        model = path.parent if path.name == "config.pbtxt" else path.parent.parent
        is_inside = model not in {folder, folder.parent}
        if path.name == "config.pbtxt" and is_inside:
            roots.setdefault(model.parent, Root(place=str(model.parent))).models[model.name] = model
        elif path.suffix != ".pbtxt":
            if _VERSION.fullmatch(path.parent.name) and path.name.startswith("model.") and is_inside:
                roots.setdefault(model.parent, Root(place=str(model.parent))).models[model.name] = model
            continue
        if (each or path.name != "config.pbtxt" or not is_inside) and path.stat().st_size <= _LARGEST_CONFIG:
            content = path.read_bytes()
            if path.name == "config.pbtxt" or (_CONFIG.search(content) and not _GRAPH.search(content)):
                loose.setdefault(content, path)
    return [*roots.values(), *_packed(loose.values())]


def _files(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != ".git")
        yield from (Path(place, name) for name in sorted(names) if not Path(place, name).is_symlink())


def _packed(configs: Iterable[Path]) -> list[Root]:
    """Few repositories without two models of one name: each needs a server of its own."""
    roots: list[Root] = []
    for path in configs:
        name = _name(path)
        root = next((root for root in roots if name not in root.models and len(root.models) < _PACK), None)
        if root is None:
            root = Root(place=f"loose configurations {len(roots) + 1}", is_loose=True)
            roots.append(root)
        root.models[name] = path
    return roots


def _name(path: Path) -> str:
    """The name in a configuration, so that the folder's agrees; the file's or folder's, where it has none."""
    config = _parsed(path)
    match = _NAME.search(path.read_text(encoding="utf-8", errors="replace"))
    name = str(config.name) if config is not None else match[1] if match else ""
    fallback = path.parent.name if path.name == "config.pbtxt" else path.stem
    return name if _SAFE.fullmatch(name) else re.sub(r"[^A-Za-z0-9_.-]", "_", fallback)


def _parsed(path: Path) -> Any | None:
    config = schema().ModelConfig()
    try:
        text_format.Parse(path.read_bytes(), config)
    except (text_format.ParseError, UnicodeDecodeError, ValueError, RecursionError):
        return None
    return config


def copy(root: Root, into: Path) -> None:
    """Copy the models of ``root`` to ``into``, readable for the server's user.

    A model on a GPU becomes one on the CPU. A model without a version directory gets one, because Git stores no empty folder: both
    judges would stop there.
    """
    into.mkdir()
    for name, source in root.models.items():
        target = into / name
        if root.is_loose:
            target.mkdir()
            shutil.copyfile(source, target / "config.pbtxt")
        else:
            shutil.copytree(source, target, symlinks=True)
        config = target / "config.pbtxt"
        if config.is_file():
            config.write_bytes(_GPUS.sub(b"", _GPU.sub(b"KIND_CPU", config.read_bytes())))
        for version in _missing_versions(target):
            (target / version).mkdir()
            (target / version / "model.py").write_text(_MODEL)
    for path in (into, *into.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def _missing_versions(model: Path) -> list[str]:
    if any(entry.is_dir() and _VERSION.fullmatch(entry.name) for entry in model.iterdir()):
        return []
    config = _parsed(model / "config.pbtxt") if (model / "config.pbtxt").is_file() else None
    asked = config.version_policy.specific.versions if config is not None else []
    return sorted({str(version) for version in asked if version > 0}) or ["1"]


def backends(root: Path) -> frozenset[str]:
    """Backends that the configurations of a copied root name, and the built-in ones."""
    return frozenset(_named(root, _BACKEND) | set(BUILT_IN))


def steps(root: Path) -> dict[str, set[str]]:
    """Models of the steps of each ensemble in a copied root."""
    return {name: {step.decode(errors="replace") for step in _STEP.findall(text)} for name, text in _configs(root).items()}


def fills(root: Path) -> dict[str, frozenset[str]]:
    """What the backend of each model in a copied root fills in by itself, as the validation's table says."""
    found = {}
    for path in root.iterdir():
        versions = sorted(entry for entry in path.iterdir() if entry.is_dir())
        content: dict[str, Kind] = {
            entry.name: "folder" if entry.is_dir() else "file" for version in versions[:1] for entry in version.iterdir()
        }
        config = (_parsed(path / "config.pbtxt") if (path / "config.pbtxt").is_file() else None) or schema().ModelConfig()
        row = resolve(path.name, config, content).row
        cells = {"tensors": row.inputs or row.outputs, "types and shapes": row.completes, "batch size": row.batch}
        found[path.name] = frozenset(name for name, value in cells.items() if value)
    return found


def make_library(folder: Path) -> Path:
    """Compile the backend that does nothing.

    Raises:
        OSError: The machine has no C compiler.
    """
    source, library = folder / "nothing.c", folder / "nothing.so"
    source.write_text(_LIBRARY)
    subprocess.run(["cc", "-shared", "-fPIC", "-nostdlib", "-o", library, source], check=True, timeout=60)
    return library


def install(library: Path, root: Path, into: Path) -> None:
    """Install the library as all backends, libraries (``runtime``) and repository agents that the models of a copied root name."""
    for backend in backends(root):
        for file in (f"libtriton_{backend}.so", *_named(root, _RUNTIME)):
            _copy(library, into / "backends" / backend / file)
    for agent in {name for text in _configs(root).values() for agents in _AGENTS.findall(text) for name in _AGENT.findall(agents)}:
        _copy(library, into / "agents" / agent.decode() / f"libtritonrepoagent_{agent.decode()}.so")


def _copy(library: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(library, to)


def _configs(root: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in root.glob("*/config.pbtxt") if path.is_file()}


def _named(root: Path, field: re.Pattern[bytes]) -> set[str]:
    return {name.decode() for text in _configs(root).values() for name in field.findall(text)}
