from __future__ import annotations

from pathlib import Path

from local.platform import cgroups

HYBRID = """\
28 24 0:25 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
29 28 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:13 - cgroup cgroup rw,cpu
30 28 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
31 28 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 28 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
33 28 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
34 28 0:31 / /tmp/with\\040space rw - ext4 /dev/sda rw
"""
UNIFIED = "29 28 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"


def test_version_1_beside_an_idle_version_2_is_version_1() -> None:
    found = cgroups.parse_mounts(HYBRID)
    assert found.unified is None
    assert found.idle_unified == Path("/sys/fs/cgroup/unified")
    assert dict(found.legacy)[Path("/sys/fs/cgroup/cpu,cpuacct")] == {"cpu", "cpuacct"}
    assert dict(found.legacy)[Path("/sys/fs/cgroup/systemd")] == frozenset()
    assert found.controllers == {"cpu", "cpuacct", "memory"}
    assert Path("/sys/fs/cgroup/unified") in found.everywhere
    assert Path("/sys/fs/cgroup/unified") not in found.folders


def test_version_2_alone() -> None:
    found = cgroups.parse_mounts(UNIFIED)
    assert found.unified == Path("/sys/fs/cgroup")
    assert found.folders == found.everywhere == (Path("/sys/fs/cgroup"),)


def test_nothing_mounted_is_nothing() -> None:
    found = cgroups.parse_mounts("garbage\n\n29 28 0:26 / /x rw - ext4 a rw\n")
    assert (found.unified, found.legacy, found.controllers) == (None, (), frozenset())


def version_2(tmp_path: Path) -> cgroups.Hierarchies:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma\n")
    (tmp_path / "cgroup.subtree_control").write_text("memory pids\n")
    return cgroups.Hierarchies(unified=tmp_path, legacy=())


def test_version_2_enables_what_is_missing_from_the_top_down(tmp_path: Path) -> None:
    hierarchies = version_2(tmp_path)
    below = tmp_path / "triton-fleet-x"
    for folder in (below, below / "system"):
        folder.mkdir()
        (folder / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        (folder / "cgroup.subtree_control").write_text("\n")
    cgroups.create(hierarchies, "/triton-fleet-x")
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +cpuset +hugetlb +io"
    assert (below / "cgroup.subtree_control").read_text() == "+cpu +cpuset +io +memory +pids"
    assert (below / "system" / "cgroup.subtree_control").read_text() == "+cpu +cpuset +io +memory +pids"


def test_a_version_1_cpuset_is_filled_from_its_parent(tmp_path: Path) -> None:
    (tmp_path / "cpuset.cpus").write_text("0-3\n")
    (tmp_path / "cpuset.mems").write_text("0\n")
    for folder in (tmp_path / "g", tmp_path / "g" / "system", tmp_path / "g" / "system" / "etcd"):
        folder.mkdir()
        for item in ("cpuset.cpus", "cpuset.mems"):
            (folder / item).write_text("\n")
        (folder / "cgroup.procs").write_text("")
    hierarchies = cgroups.Hierarchies(unified=None, legacy=((tmp_path, frozenset({"cpuset"})),))
    cgroups.create(hierarchies, "/g")
    cgroups.place(hierarchies, "/g", "etcd", 42)
    assert (tmp_path / "g/system/etcd/cpuset.cpus").read_text() == "0-3"
    assert (tmp_path / "g/system/etcd/cgroup.procs").read_text() == "42"


def test_memory_is_what_could_not_be_dropped(tmp_path: Path) -> None:
    group = tmp_path / "g/system/etcd"
    group.mkdir(parents=True)
    (group / "memory.usage_in_bytes").write_text("1000\n")
    (group / "memory.stat").write_text("cache 700\ninactive_file 1\ntotal_inactive_file 300\ntotal_active_file 200\n")
    hierarchies = cgroups.Hierarchies(unified=None, legacy=((tmp_path, frozenset({"memory"})),))
    assert cgroups.component_memory(hierarchies, "/g") == {"etcd": 500}


def test_processes_and_removal_go_through_every_level(tmp_path: Path) -> None:
    deep = tmp_path / "g/kubepods/burstable/pod1"
    deep.mkdir(parents=True)
    hierarchies = cgroups.Hierarchies(unified=None, legacy=((tmp_path, frozenset()),))
    (deep / "cgroup.procs").write_text("7\n8\n")
    assert cgroups.processes(hierarchies, "/g") == {7, 8}
    assert cgroups.processes(hierarchies, "/g", "system") == set()
    assert cgroups.remove(hierarchies, "/g", timeout_s=0) == [str(tmp_path / "g")]
    (deep / "cgroup.procs").unlink()
    assert cgroups.remove(hierarchies, "/g", timeout_s=0) == []
    assert not (tmp_path / "g").exists()
