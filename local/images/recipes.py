"""What is in each image. Everything comes from packages and from tools that the toolchain has; nothing is pulled from a registry.

A layer has inputs (files, whose content decides whether a made image is still good) and a function that turns them into a `Tree`.
The functions run only when an image must be made.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from components.base.versions import RCLONE_IMAGE
from local.images import elf
from local.images.errors import ImageError
from local.images.oci import ImageConfig
from local.images.packages import add_deb, add_wheel, compile_python, missing_libraries, package_name
from local.images.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

REGISTRY: Final = "triton-fleet.local"
"""No such host: an image of ours that is missing on a node fails at once instead of being looked for on the Internet."""
TRITON_WHEEL: Final = ("nvidia-pytriton", "0.7.0")
"""The newest wheel that carries a tritonserver (2.51.0, the one of NVIDIA's image 24.10)."""
NUMPY_WHEEL: Final = ("numpy", "1.26.4")
"""Below 2: the Python backend of Triton 2.51 was built against numpy 1 and answers with broken tensors on numpy 2."""

_APPLETS: Final = (
    "sh", "ls", "cat", "cp", "rm", "mkdir", "ln", "env", "id", "ps", "kill", "sleep", "date", "head", "tail", "grep", "sed", "tr",
    "wc", "find", "sort", "test", "true", "false", "echo", "printf", "touch", "chmod", "df", "du", "free", "top", "nproc",
    "hostname", "nslookup", "wget", "nc", "vi", "tar", "basename", "dirname", "readlink", "mktemp", "uname", "which", "xargs",
    "stat", "seq", "timeout", "md5sum", "sha256sum", "dd", "mount", "netstat",
)  # fmt: skip
"""Applets of busybox that get a name of their own in images with a shell: enough to look around in a pod."""
_NOT_IN_IMAGES: Final = frozenset(
    {
        "adduser", "base-files", "base-passwd", "bash", "busybox-static", "ca-certificates", "coreutils", "debconf", "debianutils",
        "diffutils", "dpkg", "findutils", "grep", "gzip", "init-system-helpers", "libacl1",
        "libattr1", "libgmp10", "libpam-modules", "libpam-modules-bin", "libpam-runtime", "libpam0g", "libpcre2-8-0", "libselinux1",
        "libsemanage-common", "libsemanage2", "libsepol2", "libmd0", "libaudit1", "libaudit-common", "libcap-ng0", "login", "mawk",
        "openssl", "passwd", "perl-base", "sed", "tar", "tzdata", "ncurses-base", "ncurses-bin", "util-linux",
    }
)  # fmt: skip
"""What packages depend on for their installation scripts, which never run here; or what is added by hand below."""
_NO_USE_PYTHON: Final = re.compile(r"/python3\.\d+/(lib2to3|idlelib|ensurepip|pydoc_data|turtledemo|tkinter|test|unittest/test)/")
_NO_USE_NUMPY: Final = re.compile(r"(^|/)(tests|include|f2py|distutils|_pyinstaller)/|\.(pyi|a|pxd|pyx|h)$|^numpy-[^/]*/RECORD$")
_PYTHON_LIBRARY: Final = re.compile(r"libpython(3\.\d+)-stdlib")
_STAND_IN: Final = Path(__file__).parent / "dcgm_exporter"


class Tools(Protocol):
    """What recipes need of the toolchain."""

    def ensure(self, *names: str) -> None:
        """Make sure that these tools are there."""
        ...

    def path(self, name: str) -> Path:
        """Return the file of a tool."""
        ...

    def debs(self, *packages: str) -> list[Path]:
        """Return the files of Debian packages and of all that they depend on."""
        ...

    def wheel(self, name: str, version: str, python: str = "3.11") -> Path:
        """Return the file of a wheel."""
        ...


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """A layer that could be made: equal names and inputs mean equal bytes."""

    name: str
    inputs: tuple[Path, ...]
    make: Callable[[], Tree]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One image."""

    name: str
    """Name and tag, without the registry."""
    tools: tuple[str, ...]
    """Tools that must be there before ``layers`` is called."""
    layers: Callable[[Tools], list[LayerPlan]]
    config: ImageConfig
    mebibytes: int
    """About how large the image is, for estimates."""
    registry: str = REGISTRY
    """What pods ask for it under; a publisher's own where the image holds the publisher's program and is used without being configured."""
    on_request: bool = False
    """Made only when it is named: not every stack runs it."""

    @property
    def reference(self) -> str:
        """Name by which pods ask for the image."""
        return f"{self.registry}/{self.name}"


# ---------------------------------------------------------------------------------------------------------------- small parts
def _accounts(tree: Tree, *, user: str, number: int) -> None:
    tree.file("etc/passwd", f"root:x:0:0:root:/root:/bin/sh\n{user}:x:{number}:{number}::/tmp:/bin/sh\n")
    tree.file("etc/group", f"root:x:0:\n{user}:x:{number}:\n")
    tree.file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    tree.folder("root", 0o700)
    tree.folder("tmp", 0o1777)


def _certificates(tree: Tree, debs: Sequence[Path]) -> None:
    """Add the bundle that the ca-certificates package builds when it is installed."""
    unpacked = Tree()
    for deb in debs:
        if package_name(deb) == "ca-certificates":
            add_deb(unpacked, deb)
    certificates = [unpacked.read(path) for path, entry in unpacked.items() if path.endswith(".crt") and entry.data is not None]
    if not certificates:
        raise ImageError(
            "The package ca-certificates holds no certificate: programs in the images could verify nobody. Remove its .deb and run again."
        )
    bundle = b"".join(certificate.rstrip(b"\n") + b"\n" for certificate in certificates)
    tree.file("etc/ssl/certs/ca-certificates.crt", bundle)  # where Go programs and the curl inside tritonserver look


def _busybox(tree: Tree, debs: Sequence[Path], applets: Sequence[str]) -> None:
    for deb in debs:
        if package_name(deb) == "busybox-static":
            add_deb(tree, deb, keep=lambda path: path in {"bin/busybox", "usr/bin/busybox"} or path.endswith("/copyright"))
    if "usr/bin/busybox" not in tree:
        raise ImageError("The package busybox-static holds no bin/busybox: images would have no shell. Remove its .deb and run again.")
    for applet in applets:
        tree.link(f"usr/bin/{applet}", "busybox")


# ---------------------------------------------------------------------------------------------------------------- static programs
def _program(name: str, target: str, *folders: str, also: Sequence[tuple[str, str]] = ()) -> Callable[[Tools], list[LayerPlan]]:
    """One static program (a tool of the toolchain) at ``target``, others at the places in ``also``, and ``folders`` of nobody's."""

    def layers(tools: Tools) -> list[LayerPlan]:
        debs = tools.debs("ca-certificates")
        certificates = [deb for deb in debs if package_name(deb) == "ca-certificates"]
        programs = [(tools.path(tool), place) for tool, place in ((name, target), *also)]

        def make() -> Tree:
            tree = Tree()
            _accounts(tree, user="nonroot", number=65534)
            _certificates(tree, certificates)
            for path, place in programs:
                require_static(path)
                tree.file(place, path, 0o755)
            for folder in folders:
                tree.folder(folder, 0o755, owner=65534)
            return tree

        return [LayerPlan(name=f"program {name} {target}", inputs=(*certificates, *(path.resolve() for path, _ in programs)), make=make)]

    return layers


def require_static(path: Path) -> None:
    """Refuse a program that would not start in an image without a C library.

    Raises:
        ImageError: no ELF program, or one with a dynamic loader.
    """
    with path.open("rb") as stream:
        head = stream.read(1 << 16)  # the program headers are at the start
    try:
        parsed = elf.parse(head)
    except ValueError:
        parsed = None
    if parsed is None:
        raise ImageError(
            f"{path} is no ELF program: an image can't run it. Remove it (or take it off PATH) and run again to have it built."
        )
    if parsed.interpreter:
        raise ImageError(
            f"{path} is dynamically linked: its image has no C library and the program would not start there. "
            "Take it off PATH and run again: the toolchain then gets a static one."
        )


# ---------------------------------------------------------------------------------------------------------------- pause
_PAUSE: Final = """#!/bin/sh
# PID 1 of a pod's sandbox: waits, reaps what is left to it (pods may share their process namespace), goes at once when asked to.
trap 'exit 0' TERM INT
while :; do
    sleep 2147483647 &
    wait $!
done
"""


def _pause_layers(tools: Tools) -> list[LayerPlan]:
    debs = [deb for deb in tools.debs("busybox-static") if package_name(deb) == "busybox-static"]

    def make() -> Tree:
        tree = Tree()
        tree.merge_links()
        _accounts(tree, user="nonroot", number=65534)
        _busybox(tree, debs, ("sh", "sleep"))
        tree.file("pause", _PAUSE, 0o755)
        return tree

    return [LayerPlan(name="pause", inputs=tuple(debs), make=make)]


# ---------------------------------------------------------------------------------------------------------------- Python and Triton
def _python_debs(tools: Tools) -> tuple[str, list[Path]]:
    """Return the version of the distribution's Python, and the packages of its runtime, of a shell and of certificates."""
    first = tools.debs("libpython3-stdlib")
    versions = {match[1] for deb in first if (match := _PYTHON_LIBRARY.fullmatch(package_name(deb)))}
    if len(versions) != 1:
        raise ImageError(
            f"The distribution's Python could not be told from its packages (found {', '.join(sorted(versions)) or 'none'}): "
            "the images that need Python can't be made. Use Debian 12, Ubuntu 22.04 or 24.04, "
            "or a cluster of your own with `make up KUBE_CONTEXT=...`."
        )
    version = versions.pop()
    debs = tools.debs(f"python{version}-minimal", f"libpython{version}", "libstdc++6", "bash", "busybox-static", "ca-certificates")
    return version, debs


def _python_layer(version: str, debs: Sequence[Path]) -> LayerPlan:
    """Debian's Python with its standard library, C++ runtime, bash (the Python backend starts each model by it), busybox, certificates."""
    inputs = tuple(debs)
    return LayerPlan(name=f"python {version}", inputs=inputs, make=lambda: _python_tree(version, inputs))


@functools.lru_cache(maxsize=1)
def _python_tree(version: str, debs: tuple[Path, ...]) -> Tree:
    """Return the tree of `_python_layer`; two images share it, nobody may change it."""
    tree = Tree()
    tree.merge_links()
    for deb in debs:
        if package_name(deb) not in _NOT_IN_IMAGES or package_name(deb) == "bash":
            add_deb(tree, deb, keep=_keep_of_python)
    for path in ("usr/bin/bashbug", "usr/bin/clear_console", "usr/bin/rbash"):
        tree.remove(path)
    tree.link("usr/bin/python3", f"python{version}")
    compile_python(tree, version, (f"usr/lib/python{version}/",))
    _busybox(tree, debs, _APPLETS)
    _certificates(tree, debs)
    _accounts(tree, user="triton-server", number=1000)
    tree.file("etc/os-release", 'NAME="Triton Fleet"\nID=triton-fleet\nPRETTY_NAME="Triton Fleet image from distribution packages"\n')
    return tree


def _keep_of_python(path: str) -> bool:
    return not (
        _NO_USE_PYTHON.search(path)
        or "/gconv/" in path
        or path.startswith(("etc/init", "usr/lib/binfmt.d/", "usr/share/python3/", "usr/share/binfmts/"))
    )


def _triton_layers(tools: Tools) -> list[LayerPlan]:
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
                f"{triton.name} brings no Python backend for Python {version}, this distribution's: Triton could load no model of ours. "
                "Use Debian 12, Ubuntu 22.04 or 24.04, or a cluster of your own with `make up KUBE_CONTEXT=...`."
            )
        tree.file(
            "opt/nvidia/nvidia_entrypoint.sh",
            '#!/bin/sh\n# Same place as in NVIDIA\'s image; theirs prints a banner first.\nexec "$@"\n',
            0o755,
        )
        missing = missing_libraries([base.make(), tree])
        if missing:
            wants = "; ".join(f"{library} (for {', '.join(sorted(users)[:2])})" for library, users in sorted(missing.items()))
            raise ImageError(
                f"Image tritonserver would lack {wants}: Triton would not start. "
                "The distribution's packages have changed; please report this."
            )
        return tree

    return [base, LayerPlan(name=f"triton {version}", inputs=(*debs, triton, numpy), make=make)]


def triton_place(name: str, python: str) -> str | None:
    """Return where a file of the Triton wheel goes in the image, laid out as in NVIDIA's; None for what stays out.

    pytriton's own Python code stays out, and so do its stubs for other Python versions and the libpython that only one of those asks for.
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


def _exporter_layers(tools: Tools) -> list[LayerPlan]:
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


# ---------------------------------------------------------------------------------------------------------------- rclone
_RCLONE: Final = RCLONE_IMAGE.rpartition("/")
_COPYING: Final = (*_APPLETS, "awk", "cut", "du", "mkfifo", "mv", "tee")
"""What charts/triton/files/prefetch.sh uses: the publisher's image is Alpine, whose busybox has all applets."""


def _rclone_layers(tools: Tools) -> list[LayerPlan]:
    debs = tools.debs("busybox-static", "ca-certificates")
    program = tools.path("rclone")

    def make() -> Tree:
        tree = Tree()
        tree.merge_links()
        require_static(program)
        tree.file("usr/local/bin/rclone", program, 0o755)
        _accounts(tree, user="rclone", number=1009)
        _busybox(tree, debs, _COPYING)
        _certificates(tree, debs)
        tree.folder("data", 0o755)
        return tree

    return [LayerPlan(name="rclone", inputs=(*debs, program.resolve()), make=make)]


# ---------------------------------------------------------------------------------------------------------------- the list
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TEXT: Final = {"LANG": "C.UTF-8"}

RECIPES: Final[tuple[Recipe, ...]] = (
    # The sandbox of every pod and the cluster's DNS come first: nothing runs without them.
    Recipe(
        name="pause:3.10",
        tools=(),
        layers=_pause_layers,
        config=ImageConfig(entrypoint=("/pause",), user="65534:65534", environment={"PATH": _PATH}, title="pause", version="3.10"),
        mebibytes=3,
    ),
    Recipe(
        name="coredns:v1.15.0",
        tools=("coredns",),
        layers=_program("coredns", "coredns"),
        # root, as upstream's was before file capabilities: port 53 wants CAP_NET_BIND_SERVICE, which only root keeps through exec.
        config=ImageConfig(entrypoint=("/coredns",), ports=(53,), environment={"PATH": "/"}, title="coredns", version="1.15.0"),
        mebibytes=80,
    ),
    Recipe(
        name="tritonserver:2.51.0-cpu",
        tools=(),
        layers=_triton_layers,
        config=ImageConfig(
            entrypoint=("/opt/nvidia/nvidia_entrypoint.sh",),
            environment={
                "PATH": f"/opt/tritonserver/bin:{_PATH}",
                "LD_LIBRARY_PATH": "/opt/tritonserver/lib",
                "TRITON_SERVER_VERSION": "2.51.0",
                "NVIDIA_TRITON_SERVER_VERSION": "24.10",
                # OpenBLAS would start one thread a processor of the machine in every model's process, whatever the pod's limit.
                "OPENBLAS_NUM_THREADS": "1",
                **_TEXT,
            },
            folder="/opt/tritonserver",
            ports=(8000, 8001, 8002),
            title="tritonserver",
            version="2.51.0",
        ),
        mebibytes=230,
    ),
    Recipe(
        name="prometheus:v3",
        tools=("prometheus", "promtool"),
        layers=_program("prometheus", "bin/prometheus", "prometheus", "etc/prometheus", also=(("promtool", "bin/promtool"),)),
        config=ImageConfig(
            entrypoint=("/bin/prometheus",),
            command=("--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"),
            user="65534",
            folder="/prometheus",
            ports=(9090,),
            environment={"PATH": _PATH},
            title="prometheus",
            version="3",
        ),
        mebibytes=250,
    ),
    Recipe(
        name="prometheus-operator:v0.85.0",
        tools=("prometheus-operator",),
        layers=_program("prometheus-operator", "bin/operator"),
        config=ImageConfig(
            entrypoint=("/bin/operator",), user="65534", environment={"PATH": _PATH}, title="prometheus-operator", version="0.85.0"
        ),
        mebibytes=60,
    ),
    Recipe(
        name="prometheus-config-reloader:v0.85.0",
        tools=("prometheus-config-reloader",),
        layers=_program("prometheus-config-reloader", "bin/prometheus-config-reloader"),
        config=ImageConfig(
            entrypoint=("/bin/prometheus-config-reloader",),
            user="65534",
            environment={"PATH": _PATH},
            title="prometheus-config-reloader",
            version="0.85.0",
        ),
        mebibytes=40,
    ),
    Recipe(
        name="prometheus-adapter:v0.12.0",
        tools=("prometheus-adapter",),
        layers=_program("prometheus-adapter", "adapter"),
        # No entrypoint: the upstream chart's arguments begin with /adapter.
        config=ImageConfig(command=("/adapter",), user="65534", environment={"PATH": "/"}, title="prometheus-adapter", version="0.12.0"),
        mebibytes=70,
    ),
    Recipe(
        name="dcgm-exporter:stand-in",
        tools=(),
        layers=_exporter_layers,
        config=ImageConfig(
            entrypoint=("/usr/local/dcgm/dcgm-exporter-entrypoint.sh",),
            environment={"PATH": _PATH, **_TEXT},
            ports=(9400,),
            title="dcgm-exporter stand-in",
            version="stand-in",
        ),
        mebibytes=40,
    ),
    Recipe(
        # As the publisher's, so that `prefetch: true` is all that a stack says: same name, program, shell and place.
        name=_RCLONE[2],
        registry=_RCLONE[0],
        tools=("rclone",),
        layers=_rclone_layers,
        config=ImageConfig(
            entrypoint=("rclone",),
            environment={"PATH": _PATH, "XDG_CONFIG_HOME": "/config"},
            folder="/data",
            title="rclone",
            version=_RCLONE[2].partition(":")[2],
        ),
        mebibytes=90,
        on_request=True,
    ),
)


def architecture(machine: str | None = None) -> str:
    """Return this machine's architecture (or that of ``machine``, as uname names it) as OCI names it.

    Raises:
        ImageError: neither x86-64 nor 64-bit ARM.
    """
    name = machine or os.uname().machine
    known = {"x86_64": "amd64", "aarch64": "arm64"}
    if name not in known:
        raise ImageError(
            f"Images can't be made for {name}: Triton is built for x86_64 and aarch64. "
            "Use a cluster of your own: `make up KUBE_CONTEXT=...`."
        )
    return known[name]
