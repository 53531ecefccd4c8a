"""Where machine types with GPUs that few places have are offered. A table ages: what it lacks is warned of, never rejected.

Sources, read in 2026-12: SkyPilot's catalog of prices (skypilot-org/skypilot-catalog, catalogs/v8, aws/vms.csv at 00148f2a, gcp/vms.csv at
006059e0), and AWS GovCloud's from aws/karpenter-provider-aws of 2026-08-21 (zz_generated.pricing_aws_us_gov.go). A machine type without a
row is not checked: EC2's G families are in most regions, and for the others no list was found. The clouds' own lists:
``aws ec2 describe-instance-type-offerings`` and https://cloud.google.com/compute/docs/gpus/gpu-regions-zones
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.gpu.catalogue import Machine

AS_OF: Final = "2026-12"

_EC2: Final = """
p3dn: ap-northeast-1 eu-west-1 us-east-1 us-west-2 us-gov-east-1 us-gov-west-1
p4d: ap-northeast-1 ap-northeast-2 ap-south-1 ap-southeast-2 ca-central-1 eu-central-1 eu-north-1 eu-west-1 eu-west-2 us-east-1 us-east-2
p4d: us-west-2 us-gov-west-1
p4de: ap-northeast-1 ap-southeast-1 eu-central-1 us-east-1 us-west-2
p5: ap-northeast-1 ap-northeast-2 ap-south-1 ap-southeast-2 ap-southeast-3 ca-central-1 eu-north-1 eu-west-2 us-east-1 us-east-2
p5: us-west-1 us-west-2 us-gov-west-1
"""
"""Family: regions that have one of its sizes."""
_GCE: Final = """
nvidia-l4: asia-east1-abc asia-northeast1-abc asia-northeast3-ab asia-south1-abc asia-southeast1-abc europe-west1-bc europe-west2-ab
nvidia-l4: europe-west3-ab europe-west4-abc europe-west6-bc me-central2-ac northamerica-northeast1-bc northamerica-northeast2-ab
nvidia-l4: us-central1-abc us-east1-bcd us-east4-ac us-west1-abc us-west4-ac
nvidia-tesla-a100: asia-northeast1-ac asia-northeast3-ab asia-southeast1-abc europe-west4-ab me-west1-ac us-central1-abcf us-east1-b
nvidia-tesla-a100: us-west1-b us-west3-b us-west4-b
nvidia-a100-80gb: asia-southeast1-c europe-west4-a us-central1-ac us-east4-c us-east5-ab
nvidia-h100-80gb: asia-east1-c asia-northeast1-b asia-south1-c asia-south2-b asia-southeast1-bc australia-southeast1-c europe-north1-c
nvidia-h100-80gb: europe-west1-bc europe-west3-c europe-west4-bc europe-west8-c europe-west9-c us-central1-abc us-east4-abc us-east5-a
nvidia-h100-80gb: us-west1-ab us-west4-a
nvidia-h100-mega-80gb: asia-northeast1-b asia-northeast3-ac asia-south1-c asia-southeast1-bc australia-southeast1-c europe-west1-bc
nvidia-h100-mega-80gb: europe-west3-ac europe-west4-bc northamerica-northeast2-c us-central1-abc us-east4-abc us-east5-a us-west1-ab
nvidia-h100-mega-80gb: us-west4-a
nvidia-h200-141gb: asia-south1-b asia-south2-c europe-west1-b europe-west4-a us-central1-b us-east4-b us-east5-a us-south1-b us-west1-c
nvidia-b200: asia-northeast1-b asia-southeast1-b europe-north1-b europe-west4-b us-central1-b us-east1-b us-east4-b us-south1-b us-west2-c
nvidia-b200: us-west3-bc
"""
"""Accelerator type: region-letters of its zones, ..."""


def places(machine: Machine) -> frozenset[str]:
    """Return the EC2 regions, or the Compute Engine zones, that offer ``machine``; empty if they are not known."""
    ec2 = machine.cloud == "ec2"
    head = f"{machine.name.partition('.')[0] if ec2 else machine.gpu.accelerator}: "
    rows = [line for line in (_EC2 if ec2 else _GCE).splitlines() if line.startswith(head)]
    entries = [entry for row in rows for entry in row.removeprefix(head).split()]
    if ec2:
        return frozenset(entries)
    return frozenset(f"{entry.rpartition('-')[0]}-{letter}" for entry in entries for letter in entry.rpartition("-")[2])


def offering_problem(machine: Machine, region: str, zones: Sequence[str], zone_count: int) -> str | None:
    """Return where in ``region`` nodes of ``machine`` could not be created; None where they could, or where that is not known.

    ``zones``: those of the pool; if they are not known yet, ``zone_count`` of the region.
    """
    known = places(machine)
    if not known or region in known:
        return None
    here = sorted(place for place in known if place.rpartition("-")[0] == region)
    lacking = [zone for zone in zones if zone not in known]
    if here and not lacking and (zones or len(here) >= zone_count):
        return None
    where = region if not here else ", ".join(lacking) or f"all of {zone_count} zones of {region}"
    regions = sorted(known if machine.cloud == "ec2" else {place.rpartition("-")[0] for place in known})
    remedy = f"Name zones: {', '.join(here)}" if here else f"Choose one of {', '.join(regions)}"
    return f"({machine.name}) was not offered in {where} as of {AS_OF}: its nodes could not be created. {remedy}, or check the list."
