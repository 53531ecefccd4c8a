"""What a preview asks AWS about the account: what it warns of, what it rejects, and that a question without an answer is a note."""

from __future__ import annotations

from typing import Any, Final

import pulumi
import pulumi_aws as aws
import pytest

from components.base.errors import FleetError
from components.eks.account import CLUSTER_TAG, check_capacity, check_leftovers, quota_kind
from components.eks.plan import node_groups
from tests.components.recording import start
from tests.components.test_eks import Mocks, cluster_settings

ZONES: Final = ("eu-west-1a", "eu-west-1b", "eu-west-1c")
GROUP: Final = "/aws/eks/triton-fleet/cluster"


class Account(Mocks):
    """An account; what it does not know, or does not let its caller ask, fails."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.said: list[tuple[str, str]] = []

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        self.asked.append(str(args.args.get("quotaCode")))
        return {**self.known[args.token.rsplit(":", 1)[1]], "id": "x"}, []

    def offer(self, **zones: str) -> None:
        """Offer a family in the zones with these letters: ``g6="ab"``."""
        machines = {"g6": "g6.xlarge", "p5": "p5.48xlarge", "m7i": "m7i.xlarge", "m7a": "m7a.xlarge"}
        pairs = [(machines[family], f"eu-west-1{letter}") for family, letters in zones.items() for letter in letters]
        found = {"instanceTypes": [pair[0] for pair in pairs], "locations": [pair[1] for pair in pairs]}
        self.known["getInstanceTypeOfferings"] = {**found, "locationTypes": ["availability-zone"] * len(pairs)}


@pytest.fixture
async def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    mocks = Account()
    start(mocks)
    for level in ("warn", "info"):
        monkeypatch.setattr(pulumi.log, level, lambda text, level=level: mocks.said.append((level, text)))
    mocks.known["getInstanceType"] = {"defaultVcpus": 4}
    return mocks


@pytest.mark.parametrize(
    ("groups", "tags", "clusters", "refused"),
    [
        ([], None, None, False),
        ([f"{GROUP}-2"], None, None, False),
        ([GROUP], {}, [], True),
        ([GROUP], {"Owner": "somebody"}, ["other"], True),
        ([GROUP], {CLUSTER_TAG: "triton-fleet"}, [], False),
        ([GROUP], {}, ["triton-fleet"], False),
        ([GROUP], None, [], False),
        ([GROUP], {}, None, False),
        (None, None, None, False),
    ],
    ids=[
        "none",
        "longer name",
        "EKS' own",
        "tagged by hand",
        "of an interrupted up",
        "of a cluster that runs",
        "no tags",
        "no clusters",
        "no",
    ],
)
async def test_the_log_group_of_an_earlier_cluster(
    account: Account, groups: list[str] | None, tags: dict[str, str] | None, clusters: list[str] | None, refused: bool
) -> None:
    for name, found in (
        ("getLogGroups", None if groups is None else {"logGroupNames": groups}),
        ("getLogGroup", None if tags is None else {"tags": tags}),
        ("getClusters", None if clusters is None else {"names": clusters}),
    ):
        if found is not None:
            account.known[name] = found
    message = ""
    try:
        check_leftovers(cluster_settings(), GROUP, aws.Provider("p"))
    except FleetError as error:
        message = str(error)
    assert bool(message) == refused
    if refused:
        assert message.endswith(f"aws logs delete-log-group --region eu-west-1 --log-group-name {GROUP}")
    notes = [text for level, text in account.said if level == "info"]
    assert bool(notes) == (None in (groups, *([tags, clusters] if groups == [GROUP] else [])))
    assert all("which needs " in note for note in notes)


def check(account: Account, *pools: dict[str, Any], **more: Any) -> list[str]:
    """Check the pools; return the warnings. The quotas are known unless a test says otherwise."""
    settings = cluster_settings(gpuPools=[{"name": f"p{index}", **pool} for index, pool in enumerate(pools)], **more)
    check_capacity(node_groups(settings, ZONES), settings, aws.Provider("p"))
    return [text for level, text in account.said if level == "warn"]


G6: Final = {"machineType": "g6.xlarge", "max": 5}


@pytest.mark.parametrize(
    ("offered", "pool", "more", "outcome"),
    [
        ({"g6": "abc", "m7i": "abc"}, G6, {}, ("", "")),
        (
            {"g6": "ab", "m7i": "abc"},
            G6,
            {},
            ("warn", "gpuPools[0].machineType (g6.xlarge) is not offered in eu-west-1c: no node could start"),
        ),
        ({"g6": "ab", "m7i": "abc"}, {**G6, "zones": ["eu-west-1a"]}, {}, ("", "")),
        (
            {"g6": "ab", "m7i": "abc"},
            {**G6, "zones": ["eu-west-1c"]},
            {},
            ("refuse", "Use zones that offer it (eu-west-1a, eu-west-1b), or"),
        ),
        ({"g6": "ab", "m7i": "abc"}, {**G6, "perZone": True}, {}, ("refuse", "(g6.xlarge) is not offered in eu-west-1c")),
        ({"m7i": "abc"}, G6, {}, ("refuse", "No zone of eu-west-1 offers it: change the region, or choose another machine type.")),
        ({"g6": "abc", "m7i": "ab"}, G6, {}, ("warn", "cpuPool.machineTypes (m7i.xlarge) is not offered in eu-west-1c")),
        ({"g6": "abc", "m7i": "ab", "m7a": "c"}, G6, {"cpuPool": {"machineTypes": ["m7i.xlarge", "m7a.xlarge"]}}, ("", "")),
    ],
)
async def test_what_zones_offer(
    account: Account, offered: dict[str, str], pool: dict[str, Any], more: dict[str, Any], outcome: tuple[str, str]
) -> None:
    account.offer(**offered)
    account.known["getServiceQuota"] = {"value": 1000.0}
    kind, said = outcome
    if kind == "refuse":
        with pytest.raises(FleetError) as error:
            check(account, pool, **more)
        assert said in str(error.value)
    else:
        warnings = check(account, pool, **more)
        assert len(warnings) == (kind == "warn")
        assert all(said in warning for warning in warnings)


@pytest.mark.parametrize(
    ("pools", "quota", "code", "said"),
    [
        ([G6], 20.0, "L-DB2E81BA", ""),
        ([G6], 19.0, "L-DB2E81BA", "0 vCPUs of G and VT instances at creation and 20 at most"),
        ([{**G6, "desired": 2}, G6], 4.0, "L-DB2E81BA", "8 vCPUs of G and VT instances at creation and 40 at most"),
        ([{**G6, "perZone": True, "max": 10}], 64.0, "L-DB2E81BA", "120 at most"),
        ([{**G6, "capacity": "spot"}], 16.0, "L-3819A6DF", "G and VT instances on spot"),
        ([{"machineType": "p5.48xlarge", "max": 2}], 192.0, "L-417A185B", "384 at most"),
        ([{"machineType": "p5.48xlarge", "max": 2, "capacity": "spot"}], 100.0, None, ""),
        (
            [
                {
                    **G6,
                    "machineType": "p5.48xlarge",
                    "capacity": "capacityBlock",
                    "zones": ["eu-west-1a"],
                    "capacityReservation": "cr-0a1b2c3d",
                }
            ],
            100.0,
            None,
            "",
        ),
        ([], 16.0, "L-1216C47A", "8 vCPUs of Standard instances at creation and 24 at most"),
    ],
)
async def test_quotas(account: Account, pools: list[dict[str, Any]], quota: float, code: str | None, said: str) -> None:
    account.offer(g6="abc", p5="abc", m7i="abc")
    account.known["getServiceQuota"] = {"value": quota}
    warnings = [text for text in check(account, *pools) if code is not None and code in text]
    assert code is None or code in account.asked
    assert {"L-1216C47A", code} >= {asked for asked in account.asked if asked != "None"}
    assert len(warnings) == bool(said)
    for text in warnings:
        assert said in text
        assert f"--quota-code {code} --desired-value" in text


async def test_a_question_without_an_answer_is_a_note(account: Account) -> None:
    """No right to ask, no credentials, an API that a region lacks."""
    account.known.clear()
    assert check(account, G6) == []
    rights = " ".join(text for _, text in account.said)
    for right in ("ec2:DescribeInstanceTypeOfferings", "ec2:DescribeInstanceTypes", "servicequotas:GetServiceQuota"):
        assert right in rights


def test_kinds_of_instances() -> None:
    kinds = {"g4dn.xlarge": "G and VT", "g6e.xlarge": "G and VT", "p4d.24xlarge": "P", "m7i.large": "Standard", "t3.large": "Standard"}
    kinds |= {"im4gn.large": "Standard", "i4i.large": "Standard"}
    assert {machine: quota_kind(machine) for machine in kinds} == kinds
    for other in ("inf2.xlarge", "dl1.24xlarge", "hpc7a.12xlarge", "trn1.2xlarge", "x2idn.16xlarge", "mac2.metal", "u-3tb1.56xlarge"):
        assert quota_kind(other) is None
