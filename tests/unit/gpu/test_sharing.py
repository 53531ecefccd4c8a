"""How GPUs are divided, and what one node then offers."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from components.gpu import catalogue
from components.gpu.sharing import (
    MigSharing,
    MigStrategy,
    MpsSharing,
    Offer,
    Sharing,
    TimeSlicingSharing,
    WholeSharing,
    offer,
    sharing_problems,
)


@pytest.mark.parametrize(
    ("name", "sharing", "strategy", "resource", "per_node", "per_pod"),
    [
        ("g6.12xlarge", WholeSharing(kind="whole"), "mixed", "nvidia.com/gpu", 4, 4),
        ("g6.12xlarge", TimeSlicingSharing(kind="timeSlicing", replicas=3), "mixed", "nvidia.com/gpu", 12, 1),
        ("g6.xlarge", MpsSharing(kind="mps", replicas=4), "mixed", "nvidia.com/gpu", 4, 1),
        ("p4d.24xlarge", MigSharing(kind="mig", profile="2g.10gb"), "mixed", "nvidia.com/mig-2g.10gb", 24, 24),
        ("p5.48xlarge", MigSharing(kind="mig", profile="1g.10gb+me"), "mixed", "nvidia.com/mig-1g.10gb.me", 8, 8),
        ("p4d.24xlarge", MigSharing(kind="mig", profile="2g.10gb"), "single", "nvidia.com/gpu", 24, 24),
    ],
)
def test_offer(*, name: str, sharing: Sharing, strategy: MigStrategy, resource: str, per_node: int, per_pod: int) -> None:
    assert offer(catalogue.machine(name), sharing, strategy) == Offer(resource=resource, per_node=per_node, per_pod=per_pod)


@pytest.mark.parametrize(
    ("name", "profile", "says"),
    [
        ("g6.xlarge", "1g.5gb", "is mig, but the L4 of g6.xlarge has no MIG"),
        ("p4d.24xlarge", "1g.10gb+me", "is not a MIG profile of A100 40 GB"),
        ("g7.2xlarge", "1g.16gb", "is mig"),
    ],
)
def test_impossible_slices(name: str, profile: str, says: str) -> None:
    sharing = MigSharing(kind="mig", profile=profile)
    (problem,) = sharing_problems(catalogue.machine(name), sharing)
    assert says in problem.text


@pytest.mark.parametrize("replicas", [1, 49])
@pytest.mark.parametrize("kind", [TimeSlicingSharing, MpsSharing])
def test_a_gpu_is_shared_by_2_to_48_pods(kind: type[TimeSlicingSharing | MpsSharing], replicas: int) -> None:
    with pytest.raises(ValidationError, match="replicas"):
        kind.model_validate({"kind": "mps" if kind is MpsSharing else "timeSlicing", "replicas": replicas})
