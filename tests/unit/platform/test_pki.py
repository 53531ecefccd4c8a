from __future__ import annotations

import datetime as dt
import ssl
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from local.platform import pki

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2026, 11, 21, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    assert pki.ensure(folder, NOW)
    return folder


def load(folder: Path, name: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())


def test_a_second_call_makes_nothing(made: Path) -> None:
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    assert not pki.ensure(made, NOW + dt.timedelta(days=300))
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before


def test_every_file_is_private(made: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in made.iterdir()} == {0o600}


def test_the_api_server_is_known_by_loopback_service_and_node(made: Path) -> None:
    names = load(made, "apiserver").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(a) for a in names.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "10.113.0.1", "10.111.0.1"}
    assert "kubernetes.default.svc.cluster.local" in names.get_values_for_type(x509.DNSName)


@pytest.mark.parametrize("leaf", pki.LEAVES, ids=lambda leaf: leaf.name)
def test_each_leaf_is_signed_by_its_authority_for_its_purpose_only(made: Path, leaf: pki.Leaf) -> None:
    certificate = load(made, leaf.name)
    certificate.verify_directly_issued_by(load(made, leaf.authority))
    usage = set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert (ExtendedKeyUsageOID.CLIENT_AUTH in usage, ExtendedKeyUsageOID.SERVER_AUTH in usage) == (leaf.client, leaf.server)
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_only_the_bootstrap_certificate_is_beyond_rbac(made: Path) -> None:
    masters = [
        leaf.name
        for leaf in pki.LEAVES
        if any(a.value == "system:masters" for a in load(made, leaf.name).subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    ]
    assert masters == ["bootstrap"]


def test_etcd_trusts_an_authority_that_signs_nothing_else(made: Path) -> None:
    assert {leaf.name for leaf in pki.LEAVES if leaf.authority == pki.ETCD_CA} == {"etcd", "apiserver-etcd-client"}
    assert len({(made / f"{name}.key").read_bytes() for name in (pki.CLUSTER_CA, pki.FRONT_PROXY_CA, pki.ETCD_CA)}) == 3


def test_openssl_loads_the_pairs(made: Path) -> None:
    for leaf in pki.LEAVES:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(made / f"{leaf.name}.crt", made / f"{leaf.name}.key")


def test_what_is_about_to_end_is_made_again_by_the_same_authority(tmp_path: Path) -> None:
    pki.ensure(tmp_path, NOW)
    authority, old = load(tmp_path, "ca"), load(tmp_path, "admin")
    later = NOW + dt.timedelta(days=340)
    assert pki.ensure(tmp_path, later)
    assert load(tmp_path, "ca") == authority
    assert load(tmp_path, "admin") != old
    assert load(tmp_path, "admin").not_valid_after_utc - later > dt.timedelta(days=300)


@pytest.mark.parametrize("damage", ["torn certificate", "missing key", "key of another"])
def test_damage_is_healed(tmp_path: Path, damage: str) -> None:
    pki.ensure(tmp_path, NOW)
    if damage == "torn certificate":
        (tmp_path / "scheduler.crt").write_bytes((tmp_path / "scheduler.crt").read_bytes()[:100])
    elif damage == "missing key":
        (tmp_path / "scheduler.key").unlink()
    else:
        (tmp_path / "scheduler.key").write_bytes((tmp_path / "kubelet.key").read_bytes())
    untouched = load(tmp_path, "kubelet")
    assert pki.ensure(tmp_path, NOW)
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(tmp_path / "scheduler.crt", tmp_path / "scheduler.key")
    assert load(tmp_path, "kubelet") == untouched


def test_a_new_authority_signs_everything_of_its_own_again(tmp_path: Path) -> None:
    pki.ensure(tmp_path, NOW)
    front = load(tmp_path, "front-proxy-client")
    (tmp_path / "ca.key").unlink()
    assert pki.ensure(tmp_path, NOW)
    for leaf in pki.LEAVES:
        load(tmp_path, leaf.name).verify_directly_issued_by(load(tmp_path, leaf.authority))
    assert load(tmp_path, "front-proxy-client") == front
