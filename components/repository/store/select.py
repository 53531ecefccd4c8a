"""Which object store a resource's properties mean. Imports of a cloud's client happen in the store that is asked for, nowhere else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from components.repository.store.objects import ManagedBucket, ObjectStore

if TYPE_CHECKING:
    from collections.abc import Mapping


class Store(ObjectStore, ManagedBucket, Protocol):
    """A store that can make its bucket."""


def open_store(props: Mapping[str, Any]) -> Store:
    """Store of ``props``: ``store`` (s3 or gcs), ``bucket``, and what that kind of store needs more. Asks nobody anything yet."""
    if props.get("store", "s3") == "gcs":
        from components.repository.store.gcs import GcsStore  # noqa: PLC0415  # only stacks on Google Cloud have its client

        return GcsStore(
            bucket=props["bucket"], project=props.get("project"), location=props.get("location"), endpoint=props.get("endpoint")
        )
    from components.repository.store.s3 import S3Store  # noqa: PLC0415  # the same for AWS
    from components.repository.store.s3_errors import Location  # noqa: PLC0415

    return S3Store(Location(bucket=props["bucket"], region=props["region"], endpoint=props.get("endpoint")))
