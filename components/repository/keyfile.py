"""The key file of a Google service account, for clusters without Workload Identity.

Read when Pulumi runs. Its content goes into a Secret and, encrypted, into the state.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from components.base.errors import FleetError

if TYPE_CHECKING:
    from components.repository.settings import RepositorySettings

_KEY: Final = "triton-fleet:repository.keyFile"
_NEEDED: Final = ("client_email", "private_key", "token_uri")
"""What a client needs to get a token."""
_PROJECT_FOLDER: Final = Path()
"""Pulumi runs programs in the folder of Pulumi.yaml, where relative paths in the settings start."""


def read_key_file(settings: RepositorySettings) -> str | None:
    """Content of the key file as compact JSON; None without ``credentials: keyFile``.

    Raises:
        FleetError: When the file can't be read, or holds no key that Triton can use.
    """
    if settings.credentials != "keyFile" or settings.key_file is None:
        return None
    path = _PROJECT_FOLDER / Path(settings.key_file).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise FleetError(
            f"{_KEY} ({settings.key_file}) can't be read ({reason}): Triton would read the bucket without credentials. "
            "Correct the path, or use Workload Identity (credentials: serviceAccount)."
        ) from None
    try:
        key = json.loads(text)
    except ValueError:
        key = None
    if not isinstance(key, dict):
        raise FleetError(f"{_KEY} ({settings.key_file}) is not a JSON object: Triton could not read it. Use the file that Google created.")
    kind = key.get("type")
    if kind != "service_account":
        raise FleetError(
            f"{_KEY} ({settings.key_file}) is of type {kind or 'none'}: Triton needs a service account's key and would "
            "silently read without credentials. Create one with `gcloud iam service-accounts keys create`."
        )
    missing = [name for name in _NEEDED if not key.get(name)]
    if missing:
        raise FleetError(
            f"{_KEY} ({settings.key_file}) has no {', '.join(missing)}: Triton could get no token. Use the file that Google created."
        )
    return json.dumps(key, sort_keys=True)
