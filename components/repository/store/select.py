"""Opens the store that the settings name. A store's client library is imported only by stacks that use the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.repository.settings import RepositorySettings
    from components.repository.store.objects import Store

PLACE: Final = ("store", "bucket", "region", "endpoint", "project", "location", "profile")
"""Settings that say where a bucket is, and who reaches it."""


def place_of(settings: RepositorySettings) -> dict[str, str]:
    """Return the settings of PLACE that are set, for `open_store`."""
    place = {name: value for name in PLACE if (value := getattr(settings, name)) is not None}
    return {**place, "region": settings.signing_region}


def open_store(props: Mapping[str, Any]) -> Store:
    """Return the store that the keys of PLACE in ``props`` name, without sending a request. Raises FleetError without credentials."""
    if props.get("store", "s3") == "gcs":
        from components.repository.store.gcs import GcsStore  # noqa: PLC0415  # as above

        return GcsStore(props["bucket"], project=props.get("project"), location=props.get("location"), endpoint=props.get("endpoint"))
    from components.repository.store.s3 import S3Store  # noqa: PLC0415  # as above

    return S3Store(props["bucket"], region=props["region"], endpoint=props.get("endpoint"), profile=props.get("profile"))
