"""`KUBE_CONTEXT=name`: the dev stack on a cluster of the user's own, without the embedded platform.

Pulumi.dev.yaml stays as it is: what differs is written into a stack file of the instance's own, given to Pulumi with ``--config-file``.
(`pulumi up -c` was refused: it writes into the stack file of the checkout.)
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from components.base.versions import TRITON_IMAGE
from local.cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NEEDS: Final = """\
A cluster of your own (make up KUBE_CONTEXT={context}) needs:
  - a context of that name in your kubeconfig, with the right to make namespaces, CRDs and an APIService;
  - 1 node that takes x86-64 images, 4 GiB of memory and 30 GiB of disk (Triton's image is large), and a way out to nvcr.io, quay.io and
    the chart repositories of prometheus-community and NVIDIA;
  - a bucket for the models, made by you: BUCKET=name, and S3_ENDPOINT=http://host:port when it is not on AWS (as pods reach it; set
    AWS_ENDPOINT_URL_S3 too when this machine reaches it under another name);
  - AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for it in the environment: they go into a Secret, because such a cluster has no identity of
    its own towards the bucket.
Without a way out to the publishers: CHARTS=oci://registry/charts or a folder of charts, and IMAGE=registry/tritonserver:tag.
"""


@dataclass(frozen=True, kw_only=True)
class OwnCluster:
    """What the user said about the cluster and its bucket."""

    context: str
    bucket: str
    endpoint: str | None
    charts: str | None = None
    """Where charts come from instead of their publishers: ``oci://...`` or a folder."""
    image: str | None = None
    """Triton's image instead of the pinned one of nvcr.io."""

    @classmethod
    def from_environment(cls, context: str, environ: Mapping[str, str]) -> OwnCluster:
        """Read BUCKET, S3_ENDPOINT and the keys. Raises CommandError that says all that is needed and what lacks."""
        lacks = [name for name in ("BUCKET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY") if not environ.get(name, "").strip()]
        if lacks:
            message = f"{NEEDS.format(context=context)}Not set: {', '.join(lacks)}."
            raise CommandError(message)
        said = {name: environ.get(name, "").strip() or None for name in ("S3_ENDPOINT", "CHARTS", "IMAGE")}
        return cls(
            context=context, bucket=environ["BUCKET"].strip(), endpoint=said["S3_ENDPOINT"], charts=said["CHARTS"], image=said["IMAGE"]
        )


def stack_file(dev: Mapping[str, Any], cluster: OwnCluster) -> dict[str, Any]:
    """The dev stack's file, changed to run on ``cluster``: its context and bucket, the publishers' charts and images, no NodePorts."""
    file: dict[str, Any] = copy.deepcopy(dict(dev))
    config = file["config"]
    config["triton-fleet:cluster"] = {"provider": "existing", "context": cluster.context}
    config["triton-fleet:charts"] = {"source": "upstream"}
    if cluster.charts is not None:
        source = "oci" if cluster.charts.startswith("oci://") else "folder"
        config["triton-fleet:charts"] = {"source": source, "location": cluster.charts}
    repository = config["triton-fleet:repository"]
    repository["bucket"] = cluster.bucket
    repository.pop("clusterEndpoint", None)
    if cluster.endpoint is not None:
        repository["clusterEndpoint"] = cluster.endpoint
    config.get("triton-fleet:prometheus", {}).pop("nodePort", None)
    for entry in config["triton-fleet:serving"]:
        entry["image"] = cluster.image or TRITON_IMAGE
        entry["service"] = {"type": "ClusterIP"}
        entry["startupBudget"] = "30m"
    return file


def write_stack_file(source: Path, target: Path, cluster: OwnCluster) -> None:
    """Write the changed copy of ``source`` to ``target``."""
    target.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(stack_file(yaml.safe_load(source.read_text(encoding="utf-8")), cluster), sort_keys=False)
    target.write_text(f"# Made by `make up KUBE_CONTEXT={cluster.context}` from Pulumi.dev.yaml; edit that one.\n{text}", encoding="utf-8")
