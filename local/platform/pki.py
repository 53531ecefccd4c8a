"""An instance's keys and certificates: three independent authorities (cluster, front proxy, etcd) and the certificates they sign.

Valid files are kept. A certificate is reissued if it expires within 30 days, if its authority changed, or if its content is not as
required; the components must then be restarted, which `ensure` reports.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from local.platform import config

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CLUSTER_CA: Final = "ca"
FRONT_PROXY_CA: Final = "front-proxy-ca"
ETCD_CA: Final = "etcd-ca"
ADMIN_GROUP: Final = "triton-fleet:cluster-admins"
"""Bound to ClusterRole cluster-admin at bootstrap. Not system:masters, which RBAC can't revoke."""

_AUTHORITY_DAYS: Final = 3650
_LEAF_DAYS: Final = 365
_RENEW_BEFORE: Final = dt.timedelta(days=30)
_SKEW: Final = dt.timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """A certificate that the platform needs: its subject and its authority."""

    name: str
    authority: str
    common_name: str
    organization: str | None = None
    client: bool = False
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def server(self) -> bool:
        """Whether it is a server certificate."""
        return bool(self.dns_names or self.addresses)


LEAVES: Final[tuple[Leaf, ...]] = (
    Leaf(
        name="apiserver",
        authority=CLUSTER_CA,
        common_name="kube-apiserver",
        dns_names=(
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            f"kubernetes.default.svc.{config.DOMAIN}",
            "localhost",
            config.NODE_NAME,
        ),
        addresses=(config.KUBERNETES_SERVICE_IP, config.NODE_IP, "127.0.0.1"),
    ),
    Leaf(
        name="apiserver-kubelet-client",
        authority=CLUSTER_CA,
        common_name="kube-apiserver-kubelet-client",
        organization=ADMIN_GROUP,
        client=True,
    ),
    Leaf(name="apiserver-etcd-client", authority=ETCD_CA, common_name="kube-apiserver-etcd-client", client=True),
    Leaf(name="front-proxy-client", authority=FRONT_PROXY_CA, common_name="front-proxy-client", client=True),
    Leaf(name="etcd", authority=ETCD_CA, common_name="etcd", client=True, dns_names=("localhost",), addresses=("127.0.0.1",)),
    Leaf(name="admin", authority=CLUSTER_CA, common_name="triton-fleet-admin", organization=ADMIN_GROUP, client=True),
    Leaf(name="bootstrap", authority=CLUSTER_CA, common_name="triton-fleet-bootstrap", organization="system:masters", client=True),
    Leaf(name="controller-manager", authority=CLUSTER_CA, common_name="system:kube-controller-manager", client=True),
    Leaf(name="scheduler", authority=CLUSTER_CA, common_name="system:kube-scheduler", client=True),
    Leaf(name="kube-proxy", authority=CLUSTER_CA, common_name="system:kube-proxy", client=True),
    Leaf(name="kubelet", authority=CLUSTER_CA, common_name=f"system:node:{config.NODE_NAME}", organization="system:nodes", client=True),
    Leaf(
        name="kubelet-serving",
        authority=CLUSTER_CA,
        common_name=f"system:node:{config.NODE_NAME}",
        organization="system:nodes",
        dns_names=(config.NODE_NAME,),
        addresses=(config.NODE_IP,),
    ),
)


def ensure(folder: Path, now: dt.datetime | None = None) -> bool:
    """Issue missing or expiring certificates in ``folder`` (NAME.crt and NAME.key, and sa.key/sa.pub); True if any was issued.

    ``now`` (UTC) is for tests.
    """
    moment = now or dt.datetime.now(dt.UTC)
    made = False
    authorities: dict[str, tuple[x509.Certificate, ec.EllipticCurvePrivateKey]] = {}
    for name in (CLUSTER_CA, FRONT_PROXY_CA, ETCD_CA):
        pair = _read(folder, name)
        if pair is None or pair[0].not_valid_after_utc - moment < _RENEW_BEFORE:
            pair = _make_authority(name, moment)
            _write(folder, name, *pair)
            made = True
        authorities[name] = pair
    for leaf in LEAVES:
        authority = authorities[leaf.authority]
        pair = _read(folder, leaf.name)
        if pair is None or not _is_good(pair[0], leaf, authority[0], moment):
            _write(folder, leaf.name, *_make_leaf(leaf, authority, moment))
            made = True
    if not (folder / "sa.key").exists() or not (folder / "sa.pub").exists():
        key = ec.generate_private_key(ec.SECP256R1())
        # sa.pub last: unless both exist, the pair is generated again. Tokens of an old key become invalid, and pods get new ones.
        _write_file(folder / "sa.key", _key_pem(key))
        _write_file(
            folder / "sa.pub",
            key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        )
        made = True
    return made


def _read(folder: Path, name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    try:
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())
        key = serialization.load_pem_private_key((folder / f"{name}.key").read_bytes(), password=None)
    except (OSError, ValueError):
        return None  # missing, or truncated by a crash: reissued
    if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
        return None
    return certificate, key


def _is_good(certificate: x509.Certificate, leaf: Leaf, authority: x509.Certificate, moment: dt.datetime) -> bool:
    if certificate.not_valid_after_utc - moment < _RENEW_BEFORE or certificate.not_valid_before_utc > moment:
        return False
    if certificate.subject != _subject(leaf.common_name, leaf.organization):
        return False
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return not leaf.server
    found = set(names.get_values_for_type(x509.DNSName)) | {str(a) for a in names.get_values_for_type(x509.IPAddress)}
    return found == {*leaf.dns_names, *leaf.addresses}


def _subject(common_name: str, organization: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization is not None:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _make_authority(name: str, moment: dt.datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _subject(f"triton-fleet {name}", None)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - _SKEW)
        .not_valid_after(moment + dt.timedelta(days=_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _make_leaf(
    leaf: Leaf, authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey], moment: dt.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer, issuer_key = authority
    purposes = [*([ExtendedKeyUsageOID.CLIENT_AUTH] if leaf.client else []), *([ExtendedKeyUsageOID.SERVER_AUTH] if leaf.server else [])]
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(leaf.common_name, leaf.organization))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - _SKEW)
        .not_valid_after(moment + dt.timedelta(days=_LEAF_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if leaf.server:
        names: Sequence[x509.GeneralName] = [
            *(x509.DNSName(name) for name in leaf.dns_names),
            *(x509.IPAddress(ipaddress.ip_address(address)) for address in leaf.addresses),
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256()), key


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # SEC1 ("EC PRIVATE KEY"), which every Go component reads, including service account signing.
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())


def _write(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    # The key first: a crash in between leaves a pair that does not match, which `_read` rejects.
    _write_file(folder / f"{name}.key", _key_pem(key))
    _write_file(folder / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))


def _write_file(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    temporary.replace(path)
