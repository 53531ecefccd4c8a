"""Which object store a resource's properties mean. A store's client is imported only when that store is opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.repository.settings import RepositorySettings
    from components.repository.store.objects import Store


def place_of(settings: RepositorySettings) -> dict[str, str]:
    """Properties that say where the bucket is, for `open_store`."""
    names = ("store", "bucket", "region", "endpoint", "project", "location")
    return {name: value for name in names if (value := getattr(settings, name)) is not None}


def open_store(props: Mapping[str, Any]) -> Store:
    """Store of ``props``: those of `place_of`. Sends nothing yet."""
    if props.get("store", "s3") == "gcs":
        from components.repository.store.gcs import GcsStore  # noqa: PLC0415  # as above

        return GcsStore(
            bucket=props["bucket"], project=props.get("project"), location=props.get("location"), endpoint=props.get("endpoint")
        )
    from components.repository.store.s3 import S3Store  # noqa: PLC0415  # as above
    from components.repository.store.s3_errors import Location  # noqa: PLC0415  # as above

    return S3Store(Location(bucket=props["bucket"], region=props["region"], endpoint=props.get("endpoint")))
