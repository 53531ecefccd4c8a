"""What a stack file may say, and what is said back about one that it may not."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_origin

import pulumi.runtime.config as pulumi_config
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from components.base.errors import FleetError
from components.serving.metrics.triton import PendingRequestsMetric
from components.stack.load import load, parse
from components.stack.places import models_in, parts, tag, tag_field
from components.stack.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.base.model import Model

ROOT = Path(__file__).resolve().parents[3]

GOOD: dict[str, Any] = {
    "repository": {"bucket": "models", "models": ["add_sub", "busy"]},
    "serving": [{"name": "triton", "image": "tritonserver:1", "scaling": {"minReplicas": 1, "maxReplicas": 4}}],
}


def stack_file(name: str) -> dict[str, Any]:
    content = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return {key.removeprefix("triton-fleet:"): value for key, value in content["config"].items()}


def changed(*path: str | int, to: object) -> dict[str, Any]:
    """GOOD with the value at ``path`` set."""
    raw = copy.deepcopy(GOOD)
    here: Any = raw
    for step in path[:-1]:
        here = here.setdefault(step, {}) if isinstance(here, dict) else here[step]
    if path[-1] == "+":
        here.append(to)
    else:
        here[path[-1]] = to
    return raw


def key_of(path: tuple[str | int, ...]) -> str:
    return "triton-fleet:" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[1:]


def problems(raw: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(FleetError) as caught:
        parse(raw)
    return tuple(map(str, caught.value.problems))


def test_the_dev_stack_is_good() -> None:
    settings = parse(stack_file("Pulumi.dev.yaml"))
    assert settings.serving[0].resources.gpus == 0
    assert settings.serving[0].scaling.scale_down_stabilization == 30
    assert settings.prometheus.storage is None


def test_defaults_hold_where_a_stack_says_nothing() -> None:
    settings = parse(GOOD)
    assert settings.repository.prefix == "models"
    assert settings.serving[0].startup_budget == 900
    assert settings.cluster.provider == "existing"


def test_a_zero_is_a_value() -> None:
    assert parse(changed("serving", 0, "drain", to={"preStop": 0, "exitTimeout": 1})).serving[0].drain.pre_stop == 0


@pytest.mark.parametrize(
    ("path", "written", "read"),
    [
        (("resources", "cpu"), 4, "4"),
        (("resources", "cpu"), 0.5, "0.5"),
        (("resources", "memory"), "4Gi", "4Gi"),
        (("resources", "gpus"), "1", 1),
        (("scaling", "maxReplicas"), "4", 4),
        (
            ("scaling", "metrics"),
            [{"kind": "pendingRequests", "target": "80"}],
            (PendingRequestsMetric(kind="pendingRequests", target=80),),
        ),
        (("startupBudget",), "600", 600),
        (("prefetch", "enabled"), "true", True),
    ],
)
def test_what_is_unambiguous_is_accepted(path: tuple[str, ...], written: object, read: object) -> None:
    value: object = parse(changed("serving", 0, *path, to=written)).serving[0]
    for key in path:
        value = getattr(value, re.sub(r"(?=[A-Z])", "_", key).lower())
    assert value == read
    assert type(value) is type(read) or isinstance(read, int)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (("resources", "cpu"), "resources.cpu (true) must be a quantity"),
        (("resources", "gpus"), "resources.gpus (true) must be a number: true and false are not numbers"),
        (("scaling", "maxReplicas"), "scaling.maxReplicas (true) must be a number"),
        (("startupBudget",), "startupBudget (true) must be a number"),
        (("resources", "gpus"), "resources.gpus (1_0) must be a number"),
        (("scaling", "maxReplicas"), "scaling.maxReplicas (1_0) must be a number"),
        (("image",), "image ( ) is blank"),
        (("resources", "shm"), "resources.shm (12) is less than 1Mi"),
    ],
)
def test_what_is_ambiguous_is_refused(path: tuple[str, ...], says: str) -> None:
    written = {"true": True, "12": 12}
    shown = says[says.index("(") + 1 : says.index(")")]
    (problem,) = problems(changed("serving", 0, *path, to=written.get(shown, shown)))
    assert says in problem


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse(GOOD).repository.bucket = "other"  # type: ignore[misc]


BAD: list[tuple[tuple[str | int, ...], object, str]] = [
    # Unknown keys
    (("clutser",), {}, "triton-fleet:clutser is an unknown key: nothing would read it. Did you mean cluster?"),
    (("nonsense",), {}, "triton-fleet:nonsense is an unknown key: nothing would read it. Known keys: adapter, alerts,"),
    (("cluster", "kubeconfg"), "x", "triton-fleet:cluster.kubeconfg is an unknown key: nothing would read it. Did you mean kubeconfig?"),
    (("serving", 0, "scaling", "min"), 1, "triton-fleet:serving[0].scaling.min is an unknown key: nothing would read it. Did you mean"),
    (
        ("serving", 0, "scaling", "min_replicas"),
        1,
        "triton-fleet:serving[0].scaling.min_replicas is an unknown key: nothing would read it. Did you mean minReplicas?",
    ),
    (
        ("serving", 0, "scaling", "metrics"),
        [{"kind": "queueTime", "target": 1, "traget": 2}],
        "triton-fleet:serving[0].scaling.metrics[0].traget is an unknown key: nothing would read it. Did you mean target?",
    ),
    # Wrong types
    (("cluster",), "kind", "triton-fleet:cluster (kind) must be a mapping: it can't be read. Put keys and values below it."),
    (("serving",), {"name": "triton"}, "triton-fleet:serving ({"),
    (
        ("serving", 0, "resources", "gpus"),
        "many",
        "triton-fleet:serving[0].resources.gpus (many) must be a whole number: it can't be read.",
    ),
    (("serving", 0, "resources", "gpus"), 1.5, "triton-fleet:serving[0].resources.gpus (1.5) must be a whole number"),
    (("serving", 0, "image"), 26.07, "triton-fleet:serving[0].image (26.07) must be a string: it can't be read. Write a string, in quotes"),
    (("repository", "createBucket"), "perhaps", "triton-fleet:repository.createBucket (perhaps) must be true or false"),
    (("repository", "models"), "add_sub", "triton-fleet:repository.models (add_sub) must be a list: it can't be read. Write it as"),
    (
        ("serving", 0, "scrapeInterval"),
        "soon",
        "triton-fleet:serving[0].scrapeInterval (soon) is not a duration: it can't be read",
    ),
    (("serving", 0, "startupBudget"), "5 minutes", "triton-fleet:serving[0].startupBudget (5 minutes) is not a duration"),
    (("serving", 0, "startupBudget"), float("inf"), "triton-fleet:serving[0].startupBudget (inf) must be a finite number"),
    (("serving", 0, "resources", "memory"), "4 GB", "triton-fleet:serving[0].resources.memory (4 GB) is not a Kubernetes quantity"),
    (("serving", 0, "name"), "Triton_1", "triton-fleet:serving[0].name (Triton_1) is not a DNS label: Kubernetes would reject a Service"),
    (("serving", 0, "name"), "triton\n", "is not a DNS label"),
    # Missing
    (
        ("repository",),
        {},
        "triton-fleet:repository.bucket is missing: nothing can be created without it. Add it: Name of the bucket that holds",
    ),
    (("serving",), [], "triton-fleet:serving ([]) must have 1 or more entries: fewer can't work. Add what is missing."),
    (
        ("serving", 0),
        {"name": "a"},
        "triton-fleet:serving[0].image is missing: nothing can be created without it. Add it: Container image with tritonserver",
    ),
    (("serving", 0, "scaling", "metrics"), [{"kind": "queueTime"}], "triton-fleet:serving[0].scaling.metrics[0].target is missing"),
    # Out of range
    (("prometheus", "nodePort"), 80, "triton-fleet:prometheus.nodePort (80) must be at least 30000: it would be rejected. Raise it."),
    (("serving", 0, "resources", "memory"), 2, "triton-fleet:serving[0].resources.memory (2) is less than 1Mi: a size without a unit"),
    (("prometheus", "nodePort"), 40000, "triton-fleet:prometheus.nodePort (40000) must be at most 32767"),
    (("serving", 0, "scaling", "minReplicas"), 0, "triton-fleet:serving[0].scaling.minReplicas (0) must be at least 1"),
    (("serving", 0, "scaling", "metrics"), [{"kind": "queueTime", "target": 0}], "metrics[0].target (0) must be above 0:"),
    (("serving", 0, "scaling", "metrics"), [], "triton-fleet:serving[0].scaling.metrics ([]) must have 1 or more entries"),
    # None of the choices
    (
        ("cluster", "provider"),
        "existin",
        ("triton-fleet:cluster.provider (existin) must be one of existing, eks, gke: nothing else is supported. Did you mean existing?"),
    ),
    (
        ("serving", 0, "scaling", "metrics"),
        [{"kind": "queueTim", "target": 1}],
        (
            "triton-fleet:serving[0].scaling.metrics[0].kind (queueTim) must be one of queueTime, pendingRequests, requestRate, "
            "gpuUtilization, gpuDutyCycle, vllmFirstToken, vllmWaiting, trtllmWaiting, promql: nothing else is supported. "
            "Did you mean queueTime?"
        ),
    ),
    (
        ("serving", 0, "scaling", "metrics"),
        [{"target": 1}],
        "triton-fleet:serving[0].scaling.metrics[0] has no kind: its other keys depend on it. Add kind: one of queueTime",
    ),
    (
        ("serving", 0, "service"),
        {"type": "Nodeport"},
        "triton-fleet:serving[0].service.type (Nodeport) must be one of ClusterIP, NodePort, LoadBalancer",
    ),
    # One against the other
    (
        ("serving", 0, "scaling", "minReplicas"),
        5,
        (
            "triton-fleet:serving[0].scaling.minReplicas (5) is above maxReplicas (4): Kubernetes would reject the autoscaler. Lower it "
            "or raise maxReplicas."
        ),
    ),
    (("serving", 0, "scrapeInterval"), "30s", "triton-fleet:serving[0].scaling.window (60 s) is shorter than 4 scrapes"),
    (("serving", "+"), {"name": "triton", "image": "x:1"}, "triton-fleet:serving[1].name (triton) is serving[0]'s name too"),
    (
        ("serving", 0, "models"),
        ["add_sub", "nope"],
        "triton-fleet:serving[0].models names nope, absent from repository.models: Triton would not start.",
    ),
    (("repository", "models"), [], "triton-fleet:repository.models is an empty list"),
    (("repository", "models"), ["busy", "busy"], "triton-fleet:repository.models names busy 2 times"),
    (("serving", 0, "resources"), {"gpus": 0}, ""),
    (
        ("serving", 0, "service"),
        {"httpNodePort": 30800},
        "triton-fleet:serving[0].service.httpNodePort (30800) would be ignored: a ClusterIP Service",
    ),
    (("serving", 0, "service"), {"type": "NodePort", "httpNodePort": 30800, "grpcNodePort": 30800}, "grpcNodePort (30800) is httpNode"),
    (
        ("charts", "source"),
        "oci",
        "triton-fleet:charts.location is missing: source is oci, so no chart could be found.",
    ),
    (("charts", "source"), "folder", "triton-fleet:charts.location is missing: source is folder"),
    (("charts", "location"), "local/charts", "triton-fleet:charts.location (local/charts) would be ignored: source is upstream"),
    (
        ("charts",),
        {"source": "oci", "location": "registry.example.com/charts"},
        "triton-fleet:charts.location (registry.example.com/charts) must start with oci://",
    ),
    (("serving", 0, "startupBudget"), 3, "triton-fleet:serving[0].startupBudget (3 s) is below 10 s: pods would be killed while they load"),
    (("serving", 0, "drain"), {"exitTimeout": "2h"}, "triton-fleet:serving[0].drain takes 7230 s"),
    # The store
    (("repository", "bucket"), "My_Bucket", "triton-fleet:repository.bucket (My_Bucket) is not a valid bucket name: S3 would refuse it."),
    (("repository", "bucket"), "ab", "triton-fleet:repository.bucket (ab) is not a valid bucket name"),
    (("repository", "bucket"), "a" * 64, "is not a valid bucket name"),
    (("repository", "bucket"), "10.0.0.1", "triton-fleet:repository.bucket (10.0.0.1) is not a valid bucket name"),
    (("repository", "bucket"), "a..b", "is not a valid bucket name"),
    (("repository", "bucket"), "xn--models", "is not a valid bucket name"),
    (("repository", "bucket"), "models-s3alias", "is not a valid bucket name"),
    (("repository", "prefix"), "/models", "triton-fleet:repository.prefix (/models) is not a valid key prefix"),
    (("repository", "prefix"), "models/", "triton-fleet:repository.prefix (models/) is not a valid key prefix"),
    (("repository", "prefix"), "a//b", "is not a valid key prefix"),
    (("repository", "prefix"), "", "is not a valid key prefix"),
    (("repository", "prefix"), "../up", "is not a valid key prefix"),
    (
        ("repository", "endpoint"),
        "storage.example.com:9000",
        "triton-fleet:repository.endpoint (storage.example.com:9000) is not a valid endpoint",
    ),
    (("repository", "endpoint"), "https://storage.example.com/path", "is not a valid endpoint"),
    (("repository", "endpoint"), "http://storage.example.com:99999", "is not a valid endpoint"),
    (("repository", "endpoint"), "ftp://storage.example.com", "is not a valid endpoint"),
    (("repository", "endpoint"), "http://me:pw@storage.example.com", "is not a valid endpoint"),
    (
        ("repository", "endpoint"),
        "http://127.0.0.1:9000",
        "triton-fleet:repository.endpoint (http://127.0.0.1:9000) is a loopback address",
    ),
    (
        ("repository", "clusterEndpoint"),
        "http://localhost:9000",
        "triton-fleet:repository.clusterEndpoint (http://localhost:9000) is a loopback address",
    ),
]


@pytest.mark.parametrize(("path", "value", "says"), [entry for entry in BAD if entry[2]])
def test_bad_input_is_told(path: tuple[str | int, ...], value: object, says: str) -> None:
    (problem,) = problems(changed(*path, to=value))
    assert says in problem
    assert problem.startswith("triton-fleet:")


@pytest.mark.parametrize(("path", "value", "says"), [entry for entry in BAD if entry[2]])
def test_every_message_has_consequence_and_remedy(path: tuple[str | int, ...], value: object, says: str) -> None:
    (problem,) = problems(changed(*path, to=value))
    assert re.fullmatch(r"triton-fleet:\S+( \(.*?\))? .+: .+\. .+[.?]", problem, re.DOTALL), problem


GPU_METRIC = {"metrics": [{"kind": "gpuUtilization", "target": 80}]}


@pytest.mark.parametrize(
    ("entry", "rest", "says"),
    [
        (
            {"resources": {"gpus": 0}},
            {},
            "serving[0].scaling.metrics[0] is gpuUtilization but resources.gpus is 0: the metric would never exist",
        ),
        (
            {},
            {"dcgm": {"enabled": False}},
            "serving[0].scaling.metrics[0] is gpuUtilization but dcgm.enabled is false: nothing would measure it",
        ),
        (
            {"resources": {"gpus": 1, "gpuResource": "nvidia.com/mig-1g.5gb"}},
            {},
            "serving[0].scaling.metrics[0] is gpuUtilization but resources.gpuResource is nvidia.com/mig-1g.5gb: the metric exists",
        ),
    ],
)
def test_gpu_utilisation_needs_whole_gpus_that_are_measured(entry: dict[str, Any], rest: dict[str, Any], says: str) -> None:
    raw = {**copy.deepcopy(GOOD), **rest}
    raw["serving"][0].update(entry, scaling=GPU_METRIC)
    (problem,) = problems(raw)
    assert says in problem


def test_node_ports_are_one_services_each() -> None:
    raw = changed("prometheus", to={"nodePort": 30800})
    raw["serving"][0]["service"] = {"type": "NodePort", "httpNodePort": 30800}
    raw["serving"].append({"name": "second", "image": "x:1", "service": {"type": "NodePort", "grpcNodePort": 30800}})
    found = problems(raw)
    assert len(found) == 2
    assert found[0].startswith("triton-fleet:serving[0].service.httpNodePort (30800) is the node port of another Service")
    assert found[1].startswith("triton-fleet:serving[1].service.grpcNodePort (30800) is the node port of another Service")


STACK_FILES = {path.name: stack_file(path.name) for path in sorted(ROOT.glob("Pulumi.*.yaml"))}
RULES: list[tuple[tuple[str | int, ...], object]] = [
    (("serving", 0, "startupBudget"), 3),
    (("charts", "location"), "charts"),
    (("repository", "models"), []),
    (("cluster", "gpuPools", 0, "min"), 99),
]
"""Values that are valid one by one and break a rule, which is reported at their own key."""
COMPARED = {("charts", "location"): ("charts", "source"), ("cluster", "gpuPools", 0, "min"): ("cluster", "gpuPools", 0, "max")}
"""What the rule compares the value with: a fault of both is not independent, for a rule is silent about what can't be read."""


def faults(model: type[Model], raw: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """Every way to spoil one value of a stack file: a key that is unknown, and a value that can't be read for each key that is known."""
    if not isinstance(raw, dict):
        return
    yield (*path, "unknownKey"), 1
    for name, field in model.model_fields.items():
        key = (*path, field.alias or name)
        known = models_in(field.annotation)
        yield key, True if str in _types(field.annotation) and not known else "not ok!"
        absent: object = {} if len(known) == 1 and not field.is_required() and get_origin(field.annotation) is not tuple else None
        entries = raw.get(str(key[-1]), absent)
        for index, entry in enumerate(entries) if isinstance(entries, list) else [("", entries)]:
            inner = [kind for kind in known if len(known) == 1 or (isinstance(entry, dict) and entry.get(tag_field(kind), "") == tag(kind))]
            if inner:
                yield from faults(inner[0], entry, (*key, *((index,) if isinstance(index, int) else ())))


def _types(annotation: object) -> set[object]:
    return {part for part in parts(annotation) if part in {str, int, float, bool}}


def spoiled(raw: dict[str, Any], path: tuple[str | int, ...], value: object) -> None:
    here: Any = raw
    for step in path[:-1]:
        here = here.setdefault(step, {}) if isinstance(here, dict) else here[step]
    here[path[-1]] = value


@pytest.mark.parametrize("name", STACK_FILES)
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_independent_faults_are_all_reported_in_one_run(name: str, data: st.DataObject) -> None:
    pools = "gpuPools" in STACK_FILES[name].get("cluster", {})
    rules = [
        (path, value) for path, value in RULES if {"charts": "charts" not in STACK_FILES[name], "cluster": pools}.get(str(path[0]), True)
    ]
    candidates = [*rules, *(fault for fault in faults(Settings, STACK_FILES[name]) if fault[0][-1] not in {"kind", "provider"})]
    chosen: dict[tuple[str | int, ...], object] = {}
    for path, value in data.draw(st.lists(st.sampled_from(candidates), min_size=1, max_size=12)):
        taken = [*chosen, *(COMPARED[other] for other in chosen if other in COMPARED)]
        mine = [path, *([COMPARED[path]] if path in COMPARED else [])]
        if not any(one[: len(other)] == other or other[: len(one)] == one for one in mine for other in taken):
            chosen[path] = value
    raw = copy.deepcopy(STACK_FILES[name])
    for path, value in chosen.items():
        spoiled(raw, path, value)
    assert sorted(problem.split(" ")[0] for problem in problems(raw)) == sorted(map(key_of, chosen))


def test_all_problems_at_once_also_those_behind_others() -> None:
    raw = stack_file("Pulumi.dev.yaml")
    raw["repository"]["bucket"] = "A"  # unreadable
    raw["repository"]["models"] = ["add_sub", "add_sub"]  # behind it: found by a check of the whole object
    raw["serving"][0]["resources"]["gpus"] = "none"
    raw["serving"][0]["scaling"]["minReplicas"] = 9
    raw["serving"].append({"name": "triton", "models": ["nope"]})
    raw["extra"] = 1
    keys = {problem.split(" ")[0] for problem in problems(raw)}
    assert keys == {
        "triton-fleet:repository.bucket",
        "triton-fleet:repository.models",
        "triton-fleet:serving[0].resources.gpus",
        "triton-fleet:serving[0].scaling.minReplicas",
        "triton-fleet:serving[1].image",
        "triton-fleet:serving[1].name",
        "triton-fleet:extra",
    }


def test_nothing_is_said_about_the_stand_in_of_an_unreadable_value() -> None:
    # maxReplicas can't be read; compared with its default 4, minReplicas 9 would look wrong.
    raw = changed("serving", 0, "scaling", to={"minReplicas": 9, "maxReplicas": "ten"})
    (problem,) = problems(raw)
    assert "maxReplicas (ten) must be a whole number" in problem


def test_an_unreadable_entry_of_a_list_is_reported_once_and_hides_nothing_else() -> None:
    raw = stack_file("Pulumi.eks.yaml")
    raw["cluster"]["cpuPool"].update(machineTypes=["bogus", "m7i.xlarge"], min=9)
    raw["cluster"]["network"] = {"kind": "existing", "vpcId": "vpc-0a1b2c3d", "privateSubnetIds": ["a", "b"]}
    raw["serving"][0]["scaling"]["minReplicas"] = 9
    named = ["privateSubnetIds[0] (a)", "privateSubnetIds[1] (b)", "machineTypes[0] (bogus)", "cpuPool.min (9)", "scaling.minReplicas (9)"]
    for problem, name in zip(problems(raw), named, strict=True):
        assert name in problem


def test_several_problems_are_counted_and_listed() -> None:
    raw = changed("repository", "bucket", to="A")
    raw["nonsense"] = 1
    with pytest.raises(FleetError, match=r"^2 problems:\n  - triton-fleet:") as caught:
        parse(raw)
    assert str(caught.value).count("\n  - ") == 2


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PATHS: list[tuple[str | int, ...]] = [
    ("cluster",),
    ("repository",),
    ("repository", "models"),
    ("serving",),
    ("serving", 0),
    ("serving", 0, "scaling"),
    ("serving", 0, "scaling", "metrics"),
    ("serving", 0, "drain"),
    ("prometheus",),
]


@given(path=st.sampled_from(PATHS), value=JSON)
@settings(deadline=None)
def test_no_input_makes_it_fall_over(path: tuple[str | int, ...], value: object) -> None:
    try:
        settings = parse(changed(*path, to=value))
    except FleetError as error:
        assert error.problems  # noqa: PT017  # either outcome is right; only another exception is not
    else:
        assert isinstance(settings, Settings)


@pytest.fixture
def stack_config(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.delenv("PULUMI_CONFIG", raising=False)
    token = pulumi_config.CONFIG.set({})
    secrets = pulumi_config._SECRET_KEYS.set(set())

    def configure(values: dict[str, Any], secret: list[str] | None = None) -> None:
        config = {f"triton-fleet:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
        pulumi_config.set_all_config({**config, "aws:region": "eu-west-1"}, secret or [])

    yield configure
    pulumi_config.CONFIG.reset(token)
    pulumi_config._SECRET_KEYS.reset(secrets)


def test_one_run_reports_the_stack_file_and_what_it_refers_to(stack_config: Any) -> None:
    raw = stack_file("Pulumi.eks.yaml")
    raw["cluster"].update(provider="ekz", name=7)
    raw["repository"].update(models=["nope"], source="nowhere")
    raw["serving"][0]["scaling"]["maxReplicas"] = "1_0"
    stack_config(raw)
    with pytest.raises(FleetError) as caught:
        load(ROOT)
    found = "\n".join(map(str, caught.value.problems))
    for key in ("cluster.provider (ekz)", "cluster.name (7)", "maxReplicas (1_0)", f"repository.source ({ROOT}/nowhere)"):
        assert key in found
    raw["repository"]["prefix"] = "/"  # models are looked for only where the repository can be read
    stack_config(raw)
    with pytest.raises(FleetError, match="prefix") as caught:
        load(ROOT)
    assert "nowhere" not in str(caught.value)


def test_load_reads_the_stacks_configuration(stack_config: Any) -> None:
    stack_config(GOOD)
    assert load() == parse(GOOD)


def test_load_tells_unknown_keys_of_our_namespace_and_leaves_others_alone(stack_config: Any) -> None:
    stack_config({**GOOD, "servng": []})
    with pytest.raises(FleetError, match=r"triton-fleet:servng is an unknown key: nothing would read it\. Did you mean serving\?"):
        load()


def test_load_takes_an_empty_section_for_an_absent_one(stack_config: Any) -> None:
    stack_config({**GOOD, "dcgm": "", "adapter": "null"})
    assert load() == parse(GOOD)


def test_load_refuses_secrets(stack_config: Any) -> None:
    stack_config(GOOD, secret=["triton-fleet:repository"])
    with pytest.raises(FleetError, match="triton-fleet:repository is a secret"):
        load()


def test_load_takes_a_bare_word_where_an_object_is_wanted_for_what_it_is(stack_config: Any) -> None:
    stack_config({**GOOD, "cluster": "kind"})
    with pytest.raises(FleetError, match=r"triton-fleet:cluster \(kind\) must be a mapping"):
        load()


def test_the_project_declares_exactly_the_settings_keys() -> None:
    project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
    declared = project["config"]
    assert {key.removeprefix("triton-fleet:") for key in declared} == {field.alias or name for name, field in Settings.model_fields.items()}
    required = {key.removeprefix("triton-fleet:") for key, entry in declared.items() if "default" not in entry}
    assert required == {name for name, field in Settings.model_fields.items() if field.is_required()}
