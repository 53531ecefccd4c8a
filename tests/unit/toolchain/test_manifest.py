"""The manifest agrees with itself, with the pinned modules, and with what the rooms ask for."""

from __future__ import annotations

import re
import string

import pytest

from local.toolchain.gobuild import MODULES
from local.toolchain.manifest import KUBERNETES, PROMETHEUS, PULUMI, UNITS
from local.toolchain.units import GoBuild, ImageRelease, Unit

NAMES = [unit.name for unit in UNITS]
ASKED_FOR = {
    "etcd", "containerd", "containerd-shim-runc-v2", "ctr", "runc", "cni-plugins", "iptables", "conntrack", "kube-apiserver",
    "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl", "helm", "pulumi", "pulumi-language-python-exec",
    "pulumi-resource-pulumi-python", "coredns", "versitygw", "prometheus", "promtool", "prometheus-operator", "prometheus-config-reloader",
    "prometheus-adapter",
}  # fmt: skip


def test_every_tool_is_there_once() -> None:
    tools = [name for unit in UNITS if not unit.internal for name in unit.tool_names]
    assert sorted(tools) == sorted(ASKED_FOR)
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("unit", UNITS, ids=NAMES)
def test_every_unit_can_be_come_by(unit: Unit) -> None:
    assert unit.releases or unit.otherwise
    made = [place for release in unit.releases for place in (*release.files.values(), getattr(release, "to", ""))]
    for tool in unit.tools:
        if unit.releases and not tool.folder and "." not in made:
            assert tool.path in made, tool
    if isinstance(unit.otherwise, GoBuild):
        built = {*unit.otherwise.packages.values(), *(file.to for file in unit.otherwise.files)}
        assert built == {tool.path for tool in unit.tools}


@pytest.mark.parametrize("unit", UNITS, ids=NAMES)
def test_releases_come_by_https_and_name_their_version(unit: Unit) -> None:
    for release in unit.releases:
        addresses = [f"https://{release.image}"] if isinstance(release, ImageRelease) else [release.url, release.checksums]
        for address in addresses:
            assert address.startswith("https://")
            fields = {name for _, name, _, _ in string.Formatter().parse(address) if name}
            assert fields <= {"version", "number", "arch", "cpu", "x64"}
            assert fields & {"version", "number"}, address


@pytest.mark.parametrize("unit", UNITS, ids=NAMES)
def test_the_pinned_module_has_the_version_of_the_release(unit: Unit) -> None:
    if not isinstance(unit.otherwise, GoBuild):
        return
    package = next(iter(unit.otherwise.packages))
    module = (MODULES / unit.otherwise.folder / "go.mod").read_text()
    required = dict(re.findall(r"^\s*(?:require\s+)?([\w./~-]+)\s+(v\S+)", module, re.MULTILINE))
    name = max((name for name in required if package.startswith(name)), key=len)
    expected = f"v0.3{unit.version.split('.')[1]:0>2}.{unit.version.split('.')[2]}" if unit is PROMETHEUS else unit.version
    assert required[name] == expected


def test_versions_in_link_flags_are_the_pinned_ones() -> None:
    for unit in UNITS:
        if isinstance(unit.otherwise, GoBuild):
            stamped = re.findall(r"[vV]ersion(?:\.version|\.gitVersion|\.Version)?=(v\S+)", unit.otherwise.ldflags)
            assert set(stamped) <= {unit.version}, unit.name


def test_kubernetes_and_its_staging_modules_move_together() -> None:
    module = (MODULES / "kubernetes" / "go.mod").read_text()
    staged = re.findall(r"(?:replace\s+|\t)(k8s\.io/\S+) => (k8s\.io/\S+) (v\S+)", module)
    assert len(staged) > 25
    assert {version for _, _, version in staged} == {KUBERNETES.version.replace("v1.", "v0.")}
    assert all(name == target for name, target, _ in staged)


def test_the_pulumi_scripts_are_of_the_same_version() -> None:
    module = (MODULES / "pulumi" / "go.mod").read_text()
    assert f"github.com/pulumi/pulumi/sdk/v3 {PULUMI.version}" in module
