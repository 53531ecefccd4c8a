"""The key file of a Google service account, for clusters that have no Workload Identity (reference 002's Secret ``gcsfs-creds``).

Read when Pulumi runs, from the path that the settings name. Its content goes into a Secret and, encrypted, into the state; its path
nowhere.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pulumi

from components.base.errors import FleetError

if TYPE_CHECKING:
    from components.repository.settings import RepositorySettings

_KEY: Final = "triton-fleet:repository.keyFile"
_NEEDED: Final = ("client_email", "private_key", "token_uri")
"""What a client needs of the file to ask for a token with it."""
_PROJECT_FOLDER: Final = Path()
"""Pulumi runs programs in the folder of Pulumi.yaml: relative paths start there, as everywhere in the settings."""


def read_key_file(settings: RepositorySettings) -> str | None:
    """Return the content of the key file, compact; None where the settings ask for none.

    Raises:
        FleetError: When there is no such file, or it holds no key that Triton can use.
    """
    if settings.credentials != "keyFile" or settings.key_file is None:
        return None
    path = _PROJECT_FOLDER / Path(settings.key_file).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise FleetError(
            f"{_KEY} ({settings.key_file}) can't be read ({reason}): Triton would read the bucket as nobody. "
            "Correct the path, or use Workload Identity (credentials: serviceAccount)."
        ) from None
    try:
        key = json.loads(text)
    except ValueError:
        key = None
    if not isinstance(key, dict):
        raise FleetError(f"{_KEY} ({settings.key_file}) is no JSON object: Triton could not read it. Name the key file as Google made it.")
    kind = key.get("type")
    if kind != "service_account":
        raise FleetError(
            f"{_KEY} ({settings.key_file}) is of type {kind or 'none'}: Triton takes a service account's key and would ask as nobody with "
            "another, silently. Make one with `gcloud iam service-accounts keys create`."
        )
    missing = [name for name in _NEEDED if not key.get(name)]
    if missing:
        raise FleetError(
            f"{_KEY} ({settings.key_file}) lacks {', '.join(missing)}: no token could be asked for. Name the key file as Google made it."
        )
    return json.dumps(key, sort_keys=True)


def key_output(settings: RepositorySettings) -> pulumi.Output[str] | None:
    """Return the key file's content as a secret, None where there is none; warn, for a key neither ends nor rotates by itself.

    Raises FleetError like `read_key_file`.
    """
    content = read_key_file(settings)
    if content is None:
        return None
    pulumi.log.warn(
        "triton-fleet:repository.credentials is keyFile: the key never expires, everybody who may read Secrets of the namespace has it, "
        "and so has the state (encrypted). Use Workload Identity (credentials: serviceAccount) where the cluster has it."
    )
    return pulumi.Output.secret(content)
