from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.stack.settings import Settings
from local.cli import outcomes, own_cluster, suite, verify
from local.cli.errors import CommandError
from local.cli.session import Session, loopback_without_proxy
from local.cli.up import exclusive, exports
from tests.conftest import ROOT


def session(**environ: str) -> Session:
    return Session.from_environment(environ)


def test_session_defaults() -> None:
    found = session()
    assert (found.instance, found.port_offset, found.kube_context) == ("dev", 0, None)


def test_session_reads_the_environment_and_arguments_win() -> None:
    found = Session.from_environment({"TRITON_FLEET_INSTANCE": "a", "TRITON_FLEET_PORT_OFFSET": "5"}, instance="b", offset=7)
    assert (found.instance, found.port_offset) == ("b", 7)


def test_a_cluster_of_ones_own_is_an_instance_of_its_own() -> None:
    one, two = session(KUBE_CONTEXT="kind-x"), session(KUBE_CONTEXT="arn:aws:eks:eu-central-1:1:cluster/UPPER")
    assert len({one.instance, two.instance, "dev"}) == 3
    assert session(KUBE_CONTEXT="  ").kube_context is None


@pytest.mark.parametrize(
    ("environ", "says"),
    [({"TRITON_FLEET_PORT_OFFSET": "x"}, r"'x'\) must be a whole number"), ({"TRITON_FLEET_INSTANCE": "A b"}, "1 to 16 lowercase")],
)
def test_bad_environment_is_told(environ: dict[str, str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        Session.from_environment(environ)


def test_loopback_never_goes_through_a_proxy() -> None:
    assert loopback_without_proxy({}) == {}
    assert loopback_without_proxy({"https_proxy": "http://p:1", "no_proxy": "a.b, localhost"})["NO_PROXY"] == "a.b,localhost,127.0.0.1"


def test_exports_survive_the_shell() -> None:
    values = {"A": "plain", "B": 'it\'s "quoted" $HOME `x`', "C": "two\nlines"}
    script = f'{exports(values)}\nprintf \'%s\\0\' "$A" "$B" "$C"'
    assert subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split("\0")[:3] == list(values.values())
    assert all(shlex.split(line)[0] == "export" for line in exports({"A": "b c"}).splitlines())


def test_only_one_command_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_FLEET_HOME", str(tmp_path))
    with exclusive(session()):
        with pytest.raises(CommandError, match=f"process {os.getpid()}"), exclusive(session()):
            pass
        with exclusive(Session.from_environment({}, instance="other")):
            pass
    with exclusive(session()):
        pass


# ------------------------------------------------------------------ a cluster of the user's own
KEYS = {"BUCKET": "my-models", "AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}


def test_what_an_own_cluster_needs_is_said_all_at_once() -> None:
    with pytest.raises(CommandError) as caught:
        own_cluster.OwnCluster.from_environment("kind-x", {"AWS_ACCESS_KEY_ID": "k"})
    assert "Not set: BUCKET, AWS_SECRET_ACCESS_KEY" in str(caught.value)
    assert "KUBE_CONTEXT=kind-x" in str(caught.value)


def test_stack_file_for_an_own_cluster_holds_and_the_checkouts_stays() -> None:
    dev = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())
    before = yaml.safe_dump(dev)
    cluster = own_cluster.OwnCluster.from_environment("kind-x", KEYS | {"S3_ENDPOINT": "http://minio:9000"})
    changed = own_cluster.stack_file(dev, cluster)
    assert yaml.safe_dump(dev) == before
    assert changed["encryptionsalt"] == dev["encryptionsalt"]
    settings = Settings.model_validate({key.split(":")[1]: value for key, value in changed["config"].items()})
    assert settings.cluster.provider == "existing"
    assert settings.cluster.context == "kind-x"
    assert settings.charts.source == "upstream"
    assert (settings.repository.bucket, settings.repository.cluster_endpoint) == ("my-models", "http://minio:9000")
    assert all("triton-fleet.local" not in entry.image for entry in settings.serving)


def test_charts_and_image_of_a_mirror() -> None:
    dev = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())
    cluster = own_cluster.OwnCluster.from_environment("x", KEYS | {"CHARTS": "oci://r.example/charts", "IMAGE": "r.example/triton:1"})
    config = own_cluster.stack_file(dev, cluster)["config"]
    assert config["triton-fleet:charts"] == {"source": "oci", "location": "oci://r.example/charts"}
    assert {entry["image"] for entry in config["triton-fleet:serving"]} == {"r.example/triton:1"}


def test_own_cluster_on_aws_names_no_endpoint() -> None:
    dev = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())
    changed = own_cluster.stack_file(dev, own_cluster.OwnCluster.from_environment("x", KEYS))
    assert "clusterEndpoint" not in changed["config"]["triton-fleet:repository"]


# ------------------------------------------------------------------ what up checks
def test_known_answers() -> None:
    assert "16 values correct" in verify.compare({"OUTPUT0": verify.SUM, "OUTPUT1": verify.DIFFERENCE}, "HTTP")
    with pytest.raises(CommandError, match="over gRPC"):
        verify.compare({"OUTPUT0": verify.SUM, "OUTPUT1": verify.SUM}, "gRPC")
    assert [data["data"] for data in verify.http_request()["inputs"]] == [list(verify.FIRST), list(verify.SECOND)]


def test_wait_tells_what_lacks_and_the_remedy() -> None:
    with pytest.raises(CommandError, match=r"X is not available after 0 s: no Y\. Do Z\."):
        verify.wait(lambda: "no Y", 0, "X", "Do Z.")
    answers = iter(["not yet", None])
    verify.wait(lambda: next(answers), 60, "X", "")


def test_readiness_of_nobody() -> None:
    assert "is unreachable" in (verify.readiness("http://127.0.0.1:9") or "")


def test_metric_values() -> None:
    body = '{"items": [{"describedObject": {"name": "p"}, "value": "12500m"}]}'
    assert verify.metric_values(body) == [("p", "12500m")]
    assert verify.metric_values("{}") == []


# ------------------------------------------------------------------ the suite
REPORT = """<testsuites><testsuite>
<testcase classname="a" name="good"/><testcase classname="a" name="bad"><failure message="x"/></testcase>
<testcase classname="a" name="broken"><error message="x"/></testcase>
<testcase classname="a" name="left"><skipped type="pytest.skip" message="no tool"/></testcase>
<testcase classname="a" name="known"><skipped type="pytest.xfail" message="later"/></testcase>
</testsuite></testsuites>"""


def test_suite_counts_and_says_what_was_skipped_and_why(tmp_path: Path) -> None:
    (tmp_path / "r.xml").write_text(REPORT)
    outcome = outcomes.Outcome(name="unit", is_bad=True)
    outcomes.read_report(tmp_path / "r.xml", outcome)
    assert (outcome.passed, outcome.failed, outcome.skips) == (2, 2, [("a::left", "no tool")])
    text = outcomes.report([outcome, outcomes.Outcome(name="lint")], 61)
    assert "a::left: no tool" in text
    assert text.splitlines()[-1] == "2 passed, 2 failed, 1 skipped in 1 min 01 s; FAILED: unit"
    assert "Nothing was skipped." in outcomes.report([outcomes.Outcome(name="lint")], 1)


def test_tests_see_nothing_of_the_users_clusters_and_clouds(tmp_path: Path) -> None:
    base = {
        "AWS_PROFILE": "x",
        "KUBECONFIG": "x",
        "PULUMI_HOME": "x",
        "TRITON_FLEET_HOME": "x",
        "TRITON_FLEET_CACHE": "c",
        "HOME": "h",
        "PATH": "/bin",
    }
    environment = suite.test_environment(base, tmp_path)
    assert not {"AWS_PROFILE", "KUBECONFIG", "PULUMI_HOME"} & environment.keys()
    assert environment["TRITON_FLEET_CACHE"] == "c"
    assert environment["TRITON_FLEET_HOME"] == str(tmp_path)
    assert environment["PATH"] == f"{Path(sys.executable).parent}:/bin"


def test_tests_compile_once_where_the_user_wants_no_bytecode_beside_sources(tmp_path: Path) -> None:
    environment = suite.test_environment({"PYTHONDONTWRITEBYTECODE": "1"}, tmp_path)
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert Path(environment["PYTHONPYCACHEPREFIX"]).is_relative_to(sys.prefix)
    assert "PYTHONPYCACHEPREFIX" not in suite.test_environment({}, tmp_path)
