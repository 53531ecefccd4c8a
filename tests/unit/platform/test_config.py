from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from local import paths
from local.platform.config import PlatformConfig
from local.platform.errors import PlatformError

if TYPE_CHECKING:
    from pathlib import Path


def test_the_ports_of_the_default_instance_are_the_documented_ones() -> None:
    assert PlatformConfig().endpoints == {
        "apiserver": "https://127.0.0.1:16443",
        "object-store": "http://127.0.0.1:17070",
        "triton-http": "http://127.0.0.1:18000",
        "triton-grpc": "127.0.0.1:18001",
        "prometheus": "http://127.0.0.1:19090",
    }


def test_an_offset_moves_every_port() -> None:
    plain, moved = PlatformConfig(), PlatformConfig(port_offset=100)
    assert [f.port + 100 for f in plain.forwards] == [f.port for f in moved.forwards]
    assert moved.ports.s3 == 17170
    assert [f.target_port for f in plain.forwards] == [f.target_port for f in moved.forwards]


def test_an_offset_that_leaves_the_port_range_is_refused_with_the_remedy() -> None:
    with pytest.raises(PlatformError, match=r"apiserver on port 66443.*offset from"):
        PlatformConfig(port_offset=50000)


def test_a_control_plane_alone_opens_the_api_only() -> None:
    assert list(PlatformConfig(control_plane_only=True).endpoints) == ["apiserver"]


def test_the_environment_names_the_instance() -> None:
    config = PlatformConfig.from_environment({"TRITON_FLEET_INSTANCE": "second", "TRITON_FLEET_PORT_OFFSET": "200"})
    assert (config.instance, config.port_offset, config.cgroup) == ("second", 200, "/triton-fleet-second")
    assert PlatformConfig.from_environment({}) == PlatformConfig()


def test_an_offset_that_is_no_number_is_refused() -> None:
    with pytest.raises(PlatformError, match=r"TRITON_FLEET_PORT_OFFSET \('ten'\) must be"):
        PlatformConfig.from_environment({"TRITON_FLEET_PORT_OFFSET": "ten"})


@pytest.mark.parametrize("name", ["", "Dev", "1st", "a/b", "..", "a" * 17, "end-"])
def test_a_name_that_can_not_name_a_folder_is_refused(name: str) -> None:
    with pytest.raises(paths.InstanceNameError, match="lowercase"):
        PlatformConfig(instance=name)


def test_folders_follow_the_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("TRITON_FLEET_HOME", "TRITON_FLEET_CACHE", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.state_root("dev") == tmp_path / ".local/state/triton-fleet/dev"
    assert paths.cache_root() == tmp_path / ".cache/triton-fleet"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))
    assert (paths.state_root("dev"), paths.cache_root()) == (tmp_path / "s/triton-fleet/dev", tmp_path / "c/triton-fleet")
    monkeypatch.setenv("TRITON_FLEET_HOME", str(tmp_path / "h"))
    monkeypatch.setenv("TRITON_FLEET_CACHE", str(tmp_path / "k"))
    assert (paths.state_root("dev"), paths.cache_root()) == (tmp_path / "h/dev", tmp_path / "k")
    assert PlatformConfig(root=tmp_path / "mine").state == tmp_path / "mine"
