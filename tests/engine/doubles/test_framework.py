"""What all doubles share, under the real engine: protocol, secrets, previews, replacement, failures on demand, the journal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pulumi
import pytest

from tests.doubles.faults import Fault, Faults, Journal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engine.conftest import Stack

pytestmark = pytest.mark.engine

DOUBLE_PLUGINS = [("shelf", "tests.engine.doubles.shelf:Shelf", "1.2.3")]

BOX = "shelf:index:Box"


def box(logical: str, **inputs: Any) -> pulumi.CustomResource:
    opts = pulumi.ResourceOptions(version="1.2.3", **inputs.pop("opts", {}))
    return pulumi.CustomResource(BOX, logical, {"arn": None, "name": None, **inputs}, opts)


class Boxes:
    """A program whose boxes change between two commands."""

    def __init__(self, **boxes: dict[str, Any]) -> None:
        self.boxes = boxes

    def __call__(self) -> None:
        before: dict[str, pulumi.CustomResource] = {}
        for name, inputs in self.boxes.items():
            known = dict(inputs)
            if str(known.get("label", "")).startswith("of "):
                known["label"] = before[known["label"].removeprefix("of ")].arn  # type: ignore[attr-defined]
            if "password" in known:
                known["password"] = pulumi.Output.secret(known["password"])
            before[name] = box(name, **known)
            pulumi.export(name, before[name].arn)  # type: ignore[attr-defined]


def on_shelf(folder: Path) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in (json.loads(path.read_text()) for path in folder.glob("shelf/*.json"))}


def test_a_life(doubles: Callable[[Callable[[], None]], Stack], folder: Path, journal: Journal) -> None:
    program = Boxes(a={"size": 1}, b={"name": "mine", "size": 1, "label": "of a", "password": "hush"})
    stack = doubles(program)
    assert stack.preview() == {"create": 3}
    assert not on_shelf(folder), "a preview makes nothing"
    assert not journal.spans()
    stack.up()
    made = on_shelf(folder)
    assert made["mine"]["label"].startswith("shelf:box-"), "an output of the one came to the other"
    (other,) = set(made) - {"mine"}
    assert other.startswith("a-")
    assert "hush" not in stack.raw_state()
    assert stack.preview() == {}
    program.boxes["b"]["label"] = "plain"
    assert stack.preview() == {"update": 1}
    stack.up()
    assert on_shelf(folder)["mine"]["label"] == "plain"
    journal.clear()
    program.boxes = {"a": {"size": 2}, "b": {**program.boxes["b"], "size": 2}}
    assert stack.preview() == {"replace": 2}
    stack.up()
    order = [(span.operation, span.name) for span in journal.spans()]
    assert order.index(("create", "a")) < order.index(("delete", "a")), "the new one comes before the old one goes"
    assert order.index(("delete", "b")) < order.index(("create", "b")), "two can't have one name"
    assert [item["size"] for item in on_shelf(folder).values()] == [2, 2]
    for path in folder.glob("shelf/*.json"):
        if json.loads(path.read_text())["name"] == "mine":
            path.unlink()
    assert stack.refresh() == {"delete": 1}
    stack.up()
    stack.destroy()
    assert not on_shelf(folder)


def test_a_wrong_property_is_refused(doubles: Callable[[Callable[[], None]], Stack]) -> None:
    stack = doubles(Boxes(a={"siez": 1}))
    assert "shelf:index:Box has no property siez" in stack.fails(stack.preview)


def test_what_goes_wrong_goes_wrong_as_often_as_it_should(
    doubles: Callable[[Callable[[], None]], Stack], faults: Faults, journal: Journal, folder: Path
) -> None:
    stack = doubles(Boxes(a={"size": 1}, b={"size": 1}))
    faults.set(
        Fault(kind="quota", type=BOX, name="a"),
        Fault(kind="throttling", type=BOX, name="b", times=3),
        Fault(kind="dependency", operation="delete", name="b", times=2),
    )
    assert "LimitExceededException" in stack.fails(stack.up)
    stack.up()
    (second,) = [span for span in journal.spans() if span.name == "b"]
    assert len(second.notes) == 3
    assert second.error is None
    stack.destroy()
    (gone,) = [span for span in journal.spans() if (span.operation, span.name) == ("delete", "b")]
    assert len(gone.notes) == 2
    assert not faults.unused()
    assert not on_shelf(folder)


def test_what_turns_out_broken_is_kept_and_mended(doubles: Callable[[Callable[[], None]], Stack], faults: Faults, folder: Path) -> None:
    stack = doubles(Boxes(a={"size": 1}))
    faults.set(Fault(kind="createFailed", name="a", message="it never became ready"))
    assert "it never became ready" in stack.fails(stack.up)
    assert len(on_shelf(folder)) == 1
    assert stack.resources()["a"]["initErrors"]
    assert stack.up().outputs["a"].value.startswith("shelf:box-")
    assert "initErrors" not in stack.resources()["a"]


def test_a_plugin_that_dies_leaves_what_it_made(
    doubles: Callable[[Callable[[], None]], Stack], faults: Faults, folder: Path, journal: Journal
) -> None:
    stack = doubles(Boxes(a={"size": 1}))
    faults.set(Fault(kind="lost", name="a"))
    stack.fails(stack.up)
    assert len(on_shelf(folder)) == 1
    assert "a" not in stack.resources()
    assert [span.end for span in journal.spans()] == [None]


def test_things_that_don_t_need_each_other_are_made_at_once(
    doubles: Callable[[Callable[[], None]], Stack], journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = doubles(Boxes(a={"beside": "b"}, b={"beside": "a"}, c={"label": "of a"}))
    stack.up()
    spans = {span.name: span for span in journal.spans()}
    assert spans["a"].overlaps(spans["b"])
    assert not spans["a"].overlaps(spans["c"])


def test_functions(doubles: Callable[[Callable[[], None]], Stack]) -> None:
    def program() -> None:
        found = pulumi.runtime.invoke("shelf:index:count", {}, pulumi.InvokeOptions(version="1.2.3"))
        pulumi.export("boxes", found.value["boxes"])

    assert doubles(program).up().outputs["boxes"].value == 0


def test_a_function_that_is_none(doubles: Callable[[Callable[[], None]], Stack]) -> None:
    stack = doubles(lambda: pulumi.export("x", pulumi.runtime.invoke("shelf:index:weigh", {}, pulumi.InvokeOptions(version="1.2.3")).value))
    assert "no function shelf:index:weigh" in stack.fails(stack.up)


def test_a_fault_of_each_happens_to_every_resource_once(folder: Path, faults: Faults) -> None:
    each = Fault(kind="refused", type="shelf:*", each=True)
    faults.set(each, Fault(kind="quota", type=BOX, name="a"))
    assert faults.unused()[0] == each
    kinds = [[getattr(faults.take(BOX, name, "create"), "kind", None) for _ in range(3)] for name in "ab"]
    assert kinds == [["refused", "quota", None], ["refused", None, None]]
    assert faults.unused() == []
    assert faults.take("rack:index:Box", "a", "create") is None
