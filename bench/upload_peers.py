"""What `bench.upload` compares with, and on what: the servers and the peers' command lines.

Peers send as many requests at once as this project does. Where one can send a file of the benchmark whole or in parts, it runs both ways,
and the faster counts.
"""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import ssl
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.servers import eventually, free_port, running

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    Command = Callable[[str], tuple[Sequence[str | Path], Mapping[str, str]]]
    """Arguments and environment of an upload to a prefix."""

PARALLEL: Final = 16
BUCKET: Final = "bench"
AWSCLI: Final = "awscli==1.46.3"
GSUTIL: Final = "gsutil==5.35"


@dataclass(frozen=True, kw_only=True)
class Server:
    """An object store on loopback."""

    pid: int
    endpoint: str
    environment: dict[str, str]
    """What a client needs to reach it with credentials that it takes."""
    objects: Path
    """Folder with a folder a bucket."""


@contextlib.contextmanager
def _running(command: Sequence[str | Path], port: int, environment: Mapping[str, str]) -> Generator[int]:
    with running(command, port, environment) as process:
        if process is None:
            sys.exit(f"{command[0]} does not start")
        yield process


def _client_environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GOOGLE_", "CLOUDSDK_", "STORAGE_"))}
    return {**kept, "XDG_CACHE_HOME": str(home / "cache")}


@contextlib.contextmanager
def s3_server(program: Path, home: Path) -> Generator[Server]:
    """Versitygw on a folder, with TLS as Amazon S3 has it."""
    port, key, secret = free_port(), secrets.token_hex(8), secrets.token_hex(20)
    objects = home / "objects"
    (objects / BUCKET).mkdir(parents=True)
    for name, size in (("parts", "8MB"), ("whole", "64MB")):
        (home / f"aws-{name}").write_text(
            f"[default]\ns3 =\n  max_concurrent_requests = {PARALLEL}\n  multipart_chunksize = 8MB\n  multipart_threshold = {size}\n"
        )
    endpoint = f"https://127.0.0.1:{port}"
    authority, certificate, private = _certificate(home)
    environment = {
        **_client_environment(home),
        "AWS_CA_BUNDLE": str(authority),
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    keys = {**os.environ, "ROOT_ACCESS_KEY": key, "ROOT_SECRET_KEY": secret}
    command: list[str | Path] = [program, "--quiet", "--port", f"127.0.0.1:{port}", "--cert", certificate, "--key", private]
    with _running([*command, "posix", objects], port, keys) as pid:
        yield Server(pid=pid, endpoint=endpoint, environment=environment, objects=objects)


@contextlib.contextmanager
def gcs_server(program: Path, home: Path) -> Generator[Server]:
    """fake-gcs-server on a folder, with TLS: gsutil speaks nothing else."""
    port = free_port()
    objects = home / "gcs-objects"
    (objects / BUCKET).mkdir(parents=True)
    authority, certificate, key = _certificate(home)
    endpoint = f"https://127.0.0.1:{port}"
    boto = home / "boto"
    boto.write_text(
        "[Credentials]\n"
        f"gs_json_host = 127.0.0.1\ngs_json_port = {port}\n"
        "[Boto]\n"
        f"ca_certificates_file = {authority}\n"
        "[GSUtil]\n"
        f"parallel_process_count = {os.cpu_count()}\nparallel_thread_count = {max(PARALLEL // (os.cpu_count() or 1), 1)}\n"
        f"state_dir = {home / 'gsutil'}\ncheck_hashes = always\n"
    )
    environment = {
        **_client_environment(home),
        "STORAGE_EMULATOR_HOST": endpoint,
        "REQUESTS_CA_BUNDLE": str(authority),
        "BOTO_CONFIG": str(boto),
    }
    command: list[str | Path] = [program, "-scheme", "https", "-host", "127.0.0.1", "-port", str(port), "-external-url", endpoint]
    command += ["-public-host", f"127.0.0.1:{port}", "-backend", "filesystem", "-filesystem-root", str(objects), "-log-level", "error"]
    with _running([*command, "-cert-location", certificate, "-private-key-location", key], port, os.environ) as pid:
        context = ssl.create_default_context(cafile=str(authority))

        def answers() -> bool:
            with urllib.request.urlopen(f"{endpoint}/storage/v1/b", timeout=2, context=context):  # noqa: S310 (loopback)
                return True

        eventually(answers, "a list of buckets")
        yield Server(pid=pid, endpoint=endpoint, environment=environment, objects=objects)


@functools.cache
def _certificate(home: Path) -> tuple[Path, Path, Path]:
    """An authority, a certificate of it for 127.0.0.1, and its key. Rustls takes no certificate that is its own authority."""
    import datetime as dt  # noqa: PLC0415
    import ipaddress  # noqa: PLC0415

    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.x509.oid import NameOID  # noqa: PLC0415

    now = dt.datetime.now(dt.UTC)
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench authority")])
    signer = ec.generate_private_key(ec.SECP256R1())
    paths = []
    for name, authority in (("authority", True), ("server", False)):
        key = signer if authority else ec.generate_private_key(ec.SECP256R1())
        made = (
            x509.CertificateBuilder()
            .subject_name(issuer if authority else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(signer, hashes.SHA256())
        )
        paths.append(home / f"{name}.pem")
        paths[-1].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = home / "server.key"
    encoded = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write_bytes(encoded)
    return paths[0], paths[1], private


# ------------------------------------------------------------------ programs
def in_environment_of_its_own(cache: Path, requirement: str, program: str) -> Path:
    """A Python program, installed once."""
    home = cache / "bench" / requirement.replace("==", "-")
    path = home / "bin" / program
    if not path.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([home / "bin" / "python", "-m", "pip", "install", "-q", requirement], check=True)
    return path


# ------------------------------------------------------------------ command lines
def rclone_command(program: Path, server: Server, source: Path, cutoff: str) -> Command:
    """`rclone copy`."""
    flags = ["--config", "/dev/null", "--transfers", str(PARALLEL), "--checkers", str(PARALLEL), "--s3-provider", "Other", "--s3-env-auth"]
    flags += [
        "--ca-cert",
        server.environment["AWS_CA_BUNDLE"],
        "--s3-endpoint",
        server.endpoint,
        "--s3-no-check-bucket",
        "--s3-chunk-size",
        "8M",
        "--s3-upload-cutoff",
        cutoff,
    ]
    return lambda prefix: ([program, "copy", *flags, source, f":s3:{BUCKET}/{prefix}"], server.environment)


def aws_command(program: Path, server: Server, source: Path, how: str) -> Command:
    """`aws s3 sync`; ``how`` is parts or whole."""
    environment = {**server.environment, "AWS_CONFIG_FILE": str(server.objects.parent / f"aws-{how}")}
    return lambda prefix: ([program, "s3", "sync", "--only-show-errors", source, f"s3://{BUCKET}/{prefix}"], environment)


def gsutil_command(program: Path, server: Server, source: Path) -> Command:
    """`gsutil -m rsync`."""
    return lambda prefix: ([program, "-q", "-m", "rsync", "-r", source, f"gs://{BUCKET}/{prefix}"], server.environment)
