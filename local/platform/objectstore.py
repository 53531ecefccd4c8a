"""The node's S3 store (versitygw on plain files), its keys and its bucket."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local.platform import config
from local.platform.errors import PlatformError
from local.platform.plan import Component, Probe

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from local.platform.layout import Layout


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The store's root credentials."""

    access: str
    secret: str


def ensure_keys(path: Path) -> Keys:
    """The keys in ``path`` (0600), generated on first use."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Keys(access=str(data["access"]), secret=str(data["secret"]))
    except (OSError, ValueError, KeyError, TypeError):
        keys = Keys(access="tf" + secrets.token_hex(9).upper(), secret=secrets.token_urlsafe(30))
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump({"access": keys.access, "secret": keys.secret}, stream)
    temporary.replace(path)
    return keys


def has_extended_attributes(folder: Path) -> bool:
    """Whether files in ``folder`` support ``user.*`` attributes, in which the store keeps an object's metadata."""
    probe = folder / ".xattr-probe"
    try:
        probe.touch()
        os.setxattr(probe, "user.triton-fleet", b"1")
    except OSError:
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True


def component(binary: str, layout: Layout, environment: Mapping[str, str], *, keys: Keys, sidecar: bool) -> Component:
    """The store's process. ``sidecar`` keeps metadata in separate files, for file systems without extended attributes."""
    argv = [
        binary,
        "--port",
        f"{config.NODE_IP}:{config.OBJECT_STORE_PORT}",
        "--region",
        config.REGION,
        "--health",
        "/health",
        "posix",
        "--dir-perms",
        "0700",
        "--file-perms",
        "0600",
    ]
    if sidecar:
        argv += ["--sidecar", f"{layout.root}/objects-metadata"]
    return Component(
        name="versitygw",
        argv=(*argv, str(layout.objects)),
        # In the environment: `ps` shows arguments to every user.
        environment={**environment, "ROOT_ACCESS_KEY": keys.access, "ROOT_SECRET_KEY": keys.secret},
        probe=Probe(tcp=(config.NODE_IP, config.OBJECT_STORE_PORT)),
    )


def ensure_bucket(endpoint: str, keys: Keys, bucket: str) -> bool:
    """Create ``bucket`` if it does not exist; True if it was created.

    Raises:
        PlatformError: the store is unreachable or refuses.
    """
    import boto3  # noqa: PLC0415 - takes half a second, which `status` and `stop` need not spend
    from botocore.config import Config  # noqa: PLC0415
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=config.REGION,
        aws_access_key_id=keys.access,
        aws_secret_access_key=keys.secret,
        config=Config(connect_timeout=3, read_timeout=10, retries={"max_attempts": 3, "mode": "standard"}, proxies={}),
    )
    try:
        try:
            client.head_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:  # noqa: PLR2004
                raise
            client.create_bucket(Bucket=bucket)
            return True
    except (BotoCoreError, ClientError) as error:
        msg = f"The object store at {endpoint} can't create bucket {bucket!r} ({error}): models can't be stored. See its log (make status)."
        raise PlatformError(msg) from error
    finally:
        client.close()
    return False
