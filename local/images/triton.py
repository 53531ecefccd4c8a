"""Layers of images with Python: Triton, and the stand-in for dcgm-exporter."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.images.errors import ImageError
from local.images.layers import APPLETS, LayerPlan, accounts, busybox, certificates
from local.images.packages import add_deb, add_wheel, compile_python, missing_libraries, package_name
from local.images.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.images.layers import Tools

TRITON_WHEEL: Final = ("nvidia-pytriton", "0.7.0")
"""The newest wheel that contains a tritonserver: 2.51.0, as in NVIDIA's image 24.10."""
NUMPY_WHEEL: Final = ("numpy", "1.26.4")
"""Below 2: the Python backend of Triton 2.51 was built against numpy 1 and returns corrupt tensors with numpy 2."""
_NOT_IN_IMAGES: Final = frozenset(
    {
        "adduser", "base-files", "base-passwd", "bash", "busybox-static", "ca-certificates", "coreutils", "debconf", "debianutils",
        "diffutils", "dpkg", "findutils", "grep", "gzip", "init-system-helpers", "libacl1",
        "libattr1", "libgmp10", "libpam-modules", "libpam-modules-bin", "libpam-runtime", "libpam0g", "libpcre2-8-0", "libselinux1",
        "libsemanage-common", "libsemanage2", "libsepol2", "libmd0", "libaudit1", "libaudit-common", "libcap-ng0", "login", "mawk",
        "openssl", "passwd", "perl-base", "sed", "tar", "tzdata", "ncurses-base", "ncurses-bin", "util-linux",
    }
)  # fmt: skip
"""Packages that others need only for installation scripts, which never run in an image, or that are added separately below."""
_NO_USE_PYTHON: Final = re.compile(r"/python3\.\d+/(lib2to3|idlelib|ensurepip|pydoc_data|turtledemo|tkinter|test|unittest/test)/")
_NO_USE_NUMPY: Final = re.compile(r"(^|/)(tests|include|f2py|distutils|_pyinstaller)/|\.(pyi|a|pxd|pyx|h)$|^numpy-[^/]*/RECORD$")
_PYTHON_LIBRARY: Final = re.compile(r"libpython(3\.\d+)-stdlib")
_STAND_IN: Final = Path(__file__).parent / "dcgm_exporter"


def _python_debs(tools: Tools) -> tuple[str, list[Path]]:
    """Return the version of the distribution's Python, and the packages of its runtime, a shell and certificates."""
    first = tools.debs("libpython3-stdlib")
    versions = {match[1] for deb in first if (match := _PYTHON_LIBRARY.fullmatch(package_name(deb)))}
    if len(versions) != 1:
        raise ImageError(
            f"The version of the distribution's Python is unclear from its packages (found {', '.join(sorted(versions)) or 'none'}): "
            "images that need Python can't be built. Use Debian 12, Ubuntu 22.04 or 24.04, "
            "or your own cluster with `make up KUBE_CONTEXT=...`."
        )
    version = versions.pop()
    debs = tools.debs(f"python{version}-minimal", f"libpython{version}", "libstdc++6", "bash", "busybox-static", "ca-certificates")
    return version, debs


def _python_layer(version: str, debs: Sequence[Path]) -> LayerPlan:
    """Debian's Python with its standard library, the C++ runtime, bash (it starts the Python backend's models), busybox, certificates."""
    inputs = tuple(debs)
    return LayerPlan(name=f"python {version}", inputs=inputs, make=lambda: _python_tree(version, inputs))


@functools.lru_cache(maxsize=1)
def _python_tree(version: str, debs: tuple[Path, ...]) -> Tree:
    """Return the tree of `_python_layer`. Two images share it: do not change it."""
    tree = Tree()
    tree.merge_links()
    for deb in debs:
        if package_name(deb) not in _NOT_IN_IMAGES or package_name(deb) == "bash":
            add_deb(tree, deb, keep=_keep_of_python)
    for path in ("usr/bin/bashbug", "usr/bin/clear_console", "usr/bin/rbash"):
        tree.remove(path)
    tree.link("usr/bin/python3", f"python{version}")
    compile_python(tree, version, (f"usr/lib/python{version}/",))
    busybox(tree, debs, APPLETS)
    certificates(tree, debs)
    accounts(tree, user="triton-server", number=1000)
    tree.file("etc/os-release", 'NAME="Triton Fleet"\nID=triton-fleet\nPRETTY_NAME="Triton Fleet image from distribution packages"\n')
    return tree


def _keep_of_python(path: str) -> bool:
    return not (
        _NO_USE_PYTHON.search(path)
        or "/gconv/" in path
        or path.startswith(("etc/init", "usr/lib/binfmt.d/", "usr/share/python3/", "usr/share/binfmts/"))
    )


def triton_layers(tools: Tools) -> list[LayerPlan]:
    """Triton with its Python backend, laid out like NVIDIA's image."""
    version, debs = _python_debs(tools)
    triton = tools.wheel(*TRITON_WHEEL)
    numpy = tools.wheel(*NUMPY_WHEEL, python=version)
    base = _python_layer(version, debs)

    def make() -> Tree:
        tree = Tree()
        add_wheel(tree, numpy, lambda name: None if _NO_USE_NUMPY.search(name) else f"usr/lib/python3/dist-packages/{name}")
        add_wheel(tree, triton, lambda name: triton_place(name, version), executable=lambda path: path.endswith(("/tritonserver", "_stub")))
        compile_python(tree, version, ("usr/lib/python3/dist-packages/", "opt/tritonserver/backends/"))
        stub = "opt/tritonserver/backends/python/triton_python_backend_stub"
        if stub not in tree:
            raise ImageError(
                f"{triton.name} has no Python backend for this distribution's Python {version}: Triton could not load the sample models. "
                "Use Debian 12, Ubuntu 22.04 or 24.04, or your own cluster with `make up KUBE_CONTEXT=...`."
            )
        tree.file(
            "opt/nvidia/nvidia_entrypoint.sh",
            '#!/bin/sh\n# The same path as in NVIDIA\'s image, whose script also prints a banner.\nexec "$@"\n',
            0o755,
        )
        missing = missing_libraries([base.make(), tree])
        if missing:
            wants = "; ".join(f"{library} (for {', '.join(sorted(users)[:2])})" for library, users in sorted(missing.items()))
            raise ImageError(
                f"Image tritonserver is missing {wants}: Triton would not start. "
                "The distribution's packages have changed: please report it."
            )
        return tree

    return [base, LayerPlan(name=f"triton {version}", inputs=(*debs, triton, numpy), make=make)]


def triton_place(name: str, python: str) -> str | None:
    """Return the path of a file of the Triton wheel in the image, which is laid out like NVIDIA's; None if the file is left out.

    pytriton's own Python code is left out, and so are its stubs for other Python versions and the libpython that only those need.
    """
    folder, _, rest = name.partition("/")
    if folder == "nvidia_pytriton.libs":
        return None if rest.startswith("libpython") else f"opt/tritonserver/lib/{rest}"
    if folder.endswith(".dist-info"):
        return f"opt/tritonserver/licenses/{rest}" if "LICENSE" in rest.upper() or rest.endswith("METADATA") else None
    for source, target in (
        ("pytriton/tritonserver/bin/", "opt/tritonserver/bin/"),
        (f"pytriton/tritonserver/python_backend_stubs/{python}/", "opt/tritonserver/backends/python/"),
        ("pytriton/tritonserver/backends/", "opt/tritonserver/backends/"),
        ("pytriton/tritonserver/caches/", "opt/tritonserver/caches/"),
    ):
        if name.startswith(source):
            return target + name.removeprefix(source)
    return None


def exporter_layers(tools: Tools) -> list[LayerPlan]:
    """The stand-in for NVIDIA's dcgm-exporter."""
    version, debs = _python_debs(tools)
    program, counters, profiling = _STAND_IN / "exporter.py", _STAND_IN / "default-counters.csv", _STAND_IN / "dcp-metrics-included.csv"

    def make() -> Tree:
        tree = Tree()
        tree.file("usr/bin/dcgm-exporter", program, 0o755)
        tree.file("etc/dcgm-exporter/default-counters.csv", counters)
        tree.file("etc/dcgm-exporter/dcp-metrics-included.csv", profiling)
        tree.file("usr/local/dcgm/dcgm-exporter-entrypoint.sh", '#!/bin/sh\nexec dcgm-exporter "$@"\n', 0o755)
        return tree

    return [_python_layer(version, debs), LayerPlan(name="exporter", inputs=(program, counters, profiling), make=make)]
