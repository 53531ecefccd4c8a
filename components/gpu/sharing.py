"""How each GPU of a pool is divided among pods: the setting, and what one node then offers."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

from pydantic import Field

from components.base.errors import Problem
from components.base.model import Model
from components.gpu import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.gpu.catalogue import Machine

_MAX_REPLICAS: Final = 48
"""Clients that MPS allows on one GPU since Volta (NVIDIA's MPS manual). Time-slicing has no such limit; the same one is used."""


class WholeSharing(Model):
    """Each pod has whole GPUs."""

    kind: Literal["whole"]
    """Each pod has whole GPUs."""


class TimeSlicingSharing(Model):
    """Pods take turns on a GPU. Memory is not limited: one pod can use it up and starve the others."""

    kind: Literal["timeSlicing"]
    """Pods take turns on a GPU."""
    replicas: int = Field(ge=2, le=_MAX_REPLICAS)
    """Number of pods that share one GPU."""


class MpsSharing(Model):
    """Pods compute on a GPU at the same time, each with its share of the memory (MPS; experimental in NVIDIA's device plugin)."""

    kind: Literal["mps"]
    """Pods compute on a GPU at the same time."""
    replicas: int = Field(ge=2, le=_MAX_REPLICAS)
    """Number of pods that share one GPU."""


class MigSharing(Model):
    """Each GPU is partitioned into slices with dedicated compute and memory."""

    kind: Literal["mig"]
    """Each GPU is cut into slices."""
    profile: str
    """MIG profile, such as ``1g.10gb``; each GPU gets as many slices as fit. Pods request ``nvidia.com/mig-1g.10gb`` on AL2023, and
    ``nvidia.com/gpu`` on Bottlerocket and GKE."""


MigStrategy = Literal["single", "mixed"]
"""How NVIDIA's device plugin names slices: ``nvidia.com/gpu``, or ``nvidia.com/mig-<profile>``."""
Sharing = Annotated[WholeSharing | TimeSlicingSharing | MpsSharing | MigSharing, Field(discriminator="kind")]
"""How each GPU of a pool is divided, distinguished by ``kind``."""


class Offer(NamedTuple):
    """What one node of a pool offers to pods."""

    resource: str
    """Kubernetes resource that a pod requests, such as ``nvidia.com/gpu`` or ``nvidia.com/mig-1g.10gb``."""
    per_node: int
    """Units of the resource on one node."""
    per_pod: int
    """Most units that one pod may request. 1 on shared GPUs: a second share is not a second GPU, and the device plugin refuses it."""


def sharing_problems(machine: Machine, sharing: Sharing) -> Iterator[Problem]:
    """Yield why the GPUs of ``machine`` can't be divided as ``sharing`` asks; the pool has them as ``machine_type`` and ``sharing``."""
    if sharing.kind != "mig" or sharing.profile in machine.gpu.mig:
        return
    at, also = ("sharing", "profile"), (("machine_type",),)
    if not machine.gpu.mig:
        text = (
            f"is mig, but the {machine.gpu.name} of {machine.name} has no MIG: no slice would ever appear. "
            "Set it to timeSlicing or mps, or choose a machine type with MIG (A100, H100, H200, B200)."
        )
        yield Problem(at=at[:1], text=text, also=also)
        return
    close = difflib.get_close_matches(sharing.profile, machine.gpu.mig, n=1)
    hint = f"Did you mean {close[0]}? " if close else ""
    text = (
        f"({sharing.profile}) is not a MIG profile of {machine.gpu.name}: no slice would ever appear. "
        f"{hint}It must be one of {', '.join(machine.gpu.mig)}."
    )
    yield Problem(at=at, text=text, also=also)


def replicas(sharing: Sharing) -> int:
    """Return the number of pods that share one GPU, or 1 where pods have whole GPUs or slices."""
    return sharing.replicas if isinstance(sharing, (TimeSlicingSharing, MpsSharing)) else 1


def offer(machine: Machine, sharing: Sharing, mig_strategy: MigStrategy) -> Offer:
    """Return what one node of ``machine`` offers, for settings without `sharing_problems`.

    ``mig_strategy`` is that of the node's device plugin: with ``single``, each slice is one ``nvidia.com/gpu``.
    """
    if sharing.kind == "mig":
        per_node = machine.gpus * machine.gpu.mig[sharing.profile]
        # k8s-device-plugin names 1g.10gb+me nvidia.com/mig-1g.10gb.me.
        resource = catalogue.RESOURCE if mig_strategy == "single" else f"nvidia.com/mig-{sharing.profile.replace('+', '.')}"
        return Offer(resource, per_node=per_node, per_pod=per_node)
    if sharing.kind == "whole":
        return Offer(catalogue.RESOURCE, per_node=machine.gpus, per_pod=machine.gpus)
    return Offer(catalogue.RESOURCE, per_node=machine.gpus * sharing.replicas, per_pod=1)
