"""Which sources apt is given, what is remembered, and how failures are told; apt itself is played by a script."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from local.toolchain.debian import Apt, unpack
from local.toolchain.errors import SourceUnavailableError, ToolchainError
from local.toolchain.store import Store

if TYPE_CHECKING:
    from pathlib import Path

DEB822 = """Types: deb deb-src
# a comment
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates bookworm-backports
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://third.example/
Suites: nodistro
Components: main

Types: deb
Enabled: no
URIs: http://off.example/
Suites: bookworm
Components: main

Types: deb-src
URIs: http://src.example/
Suites: bookworm
Components: main
"""

ONE_LINE = """# a comment
deb http://line.example/debian bookworm main contrib
deb [arch=amd64 signed-by=/k.gpg] http://signed.example/debian bookworm-updates main
deb http://other.example/docker bookworm stable
deb http://cloud.example/apt cloud-sdk-bookworm main
deb-src http://src.example/debian bookworm main
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    (folder / "apt" / "sources.list.d").mkdir(parents=True)
    (folder / "os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    return folder


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs that is all of PATH but for the shell's own."""
    folder = tmp_path / "fake"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    program(
        folder, "apt-config", "echo 'Acquire::http::Proxy \"http://proxy.example:3128\";'; echo 'APT::Update::Post-Invoke:: \"rm -rf /\";'"
    )
    program(folder, "dpkg-deb", "exit 0")
    return folder


def program(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


APT_GET = """
echo "$@" >> "$LOG"
case "$*" in
*update*) exit ${UPDATE:-0};;
*--print-uris*) echo "'http://mirror.example/p.deb' p_1_all.deb 5 SHA256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";;
*) printf ${CONTENT:-hello} > p_1_all.deb;;
esac
"""


def apt(tmp_path: Path, etc: Path) -> Apt:
    return Apt(Store(tmp_path / "cache", lambda _: None), etc)


def test_a_closure_is_fetched_verified_and_remembered(tmp_path: Path, etc: Path, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (etc / "apt/sources.list.d/debian.sources").write_text(DEB822)
    (etc / "apt/sources.list").write_text(ONE_LINE)
    asked = tmp_path / "log"
    monkeypatch.setenv("LOG", str(asked))
    program(fake, "apt-get", APT_GET)
    files = apt(tmp_path, etc).closure("p")
    assert [file.read_text() for file in files] == ["hello"]
    calls = len(asked.read_text().splitlines())
    assert apt(tmp_path, etc).closure("p", "p") == files
    assert len(asked.read_text().splitlines()) == calls, "the second time was answered from the record"

    (configuration,) = (tmp_path / "cache").rglob("apt.conf")
    text = configuration.read_text()
    assert "proxy.example" in text, "the machine's proxy is used"
    assert "Post-Invoke" not in text, "the machine's hooks are not"
    assert str(tmp_path / "cache") in text
    sources = "".join(path.read_text() for path in configuration.parent.glob("sources.d/*"))
    for kept in ("mirror.example", "security.example", "line.example", "signed.example"):
        assert kept in sources
    for dropped in ("third.example", "off.example", "src.example", "other.example", "cloud.example"):
        assert dropped not in sources
    assert "Types: deb\n" in sources
    assert "Suites: bookworm bookworm-updates\n" in sources


def test_a_file_that_vanished_is_fetched_again(tmp_path: Path, etc: Path, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (etc / "apt/sources.list").write_text(ONE_LINE)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    program(fake, "apt-get", APT_GET)
    (file,) = apt(tmp_path, etc).closure("p")
    file.unlink()
    (again,) = apt(tmp_path, etc).closure("p")
    assert again.read_text() == "hello"


def test_a_package_that_differs_from_the_signed_list_is_refused(
    tmp_path: Path, etc: Path, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (etc / "apt/sources.list").write_text(ONE_LINE)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("CONTENT", "hullo")
    program(fake, "apt-get", APT_GET)
    with pytest.raises(SourceUnavailableError, match="not the file in the signed package list"):
        apt(tmp_path, etc).closure("p")
    assert not list((tmp_path / "cache").rglob("*.deb"))


def test_a_damaged_record_is_made_again(tmp_path: Path, etc: Path, fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (etc / "apt/sources.list").write_text(ONE_LINE)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    program(fake, "apt-get", APT_GET)
    apt(tmp_path, etc).closure("p")
    (record,) = (tmp_path / "cache/downloads/debs").glob("*.json")
    record.write_text("[{]")
    apt(tmp_path, etc).closure("p")
    assert json.loads(record.read_text())[0]["file"] == "p_1_all.deb"


def test_no_apt_is_told_with_what_to_do_instead(tmp_path: Path, etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SourceUnavailableError, match=r"apt-get is not installed.*KUBE_CONTEXT"):
        apt(tmp_path, etc).closure("p")


def test_no_own_source_is_told(tmp_path: Path, etc: Path, fake: Path) -> None:
    program(fake, "apt-get", "exit 0")
    with pytest.raises(SourceUnavailableError, match="suite bookworm, component main"):
        apt(tmp_path, etc).closure("p")


def test_no_package_server_is_told_with_what_apt_said(tmp_path: Path, etc: Path, fake: Path) -> None:
    (etc / "apt/sources.list").write_text(ONE_LINE)
    program(fake, "apt-get", "echo 'Could not resolve mirror.example' >&2; exit 100")
    with pytest.raises(SourceUnavailableError, match=r"(?s)Check that `apt-get update` works.*Could not resolve"):
        apt(tmp_path, etc).closure("p")


def test_a_full_disk_is_told(tmp_path: Path, etc: Path, fake: Path) -> None:
    (etc / "apt/sources.list").write_text(ONE_LINE)
    program(fake, "apt-get", "echo 'E: Write error - write (28: No space left on device)' >&2; exit 100")
    with pytest.raises(ToolchainError, match="The disk is full"):
        apt(tmp_path, etc).closure("p")


def test_a_damaged_package_is_told(tmp_path: Path, fake: Path) -> None:
    program(fake, "dpkg-deb", "echo 'not a Debian format archive' >&2; exit 2")
    with pytest.raises(SourceUnavailableError, match="not a Debian format archive"):
        unpack([tmp_path / "p.deb"], tmp_path)
