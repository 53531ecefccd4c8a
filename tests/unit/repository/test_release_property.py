"""Edits, kills, roll backs and collections in any order, by two stacks: what a deployment reads is whole at any moment, old or new."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from components.base.errors import FleetError
from components.repository.release import Catalog, publish
from components.repository.release.layout import tree_name
from components.repository.scan.folder import scan
from components.repository.scan.plan import PlannedFile, parse_sums
from components.repository.scan.plan import plan as plan_of
from components.serving.settings import ServingSettings
from components.serving.values import models_to_copy
from tests.unit.repository.fakes import KilledError, MemoryStore

if TYPE_CHECKING:
    from components.repository.scan.plan import Plan

PREFIX = "p"
MODELS = ("a", "a-b", "c")
SUBSETS = (("a",), ("a-b", "c"))
KEEP = 1


@dataclass
class Stack:
    """One stack, as Pulumi's state has it."""

    owner: str
    live: tuple[str, str, Plan] | None = None
    """Digest, token and content of what the pods read."""
    pending: list[tuple[str, str]] = field(default_factory=list)
    """Replaced, not yet deleted."""
    serial: int = 0


class Life(RuleBasedStateMachine):
    """What people and accidents do."""

    @initialize()
    def begin(self) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.store = MemoryStore()
        self.store.objects["p/models/stranger-0123456789abcdef/stranger/1/model.py"] = b"mine"
        self.stacks = [Stack("one"), Stack("two")]
        self.known: dict[str, Plan] = {}
        for model in MODELS:
            (self.root / model / "1").mkdir(parents=True)
            (self.root / model / "config.pbtxt").write_text('backend: "python"\n')
            (self.root / model / "1" / "model.py").write_text(f"# {model}\n")

    def teardown(self) -> None:
        if hasattr(self, "root"):
            shutil.rmtree(self.root)

    def _releases(self, stack: Stack) -> Catalog:
        return Catalog(self.store, PREFIX, stack.owner)

    @rule(model=st.sampled_from(MODELS), content=st.integers(0, 2))
    def edit(self, model: str, content: int) -> None:
        (self.root / model / "1" / "model.py").write_text(f"# {model} {content}\n")

    @rule(which=st.integers(0, 1), kill=st.none() | st.integers(0, 25))
    def up(self, which: int, kill: int | None) -> None:
        """Publish, roll the pods, delete what was replaced; perhaps killed somewhere."""
        stack = self.stacks[which]
        self._run(stack, scan(self.root), kill, back=False)

    @precondition(lambda self: self.known)
    @rule(which=st.integers(0, 1), kill=st.none() | st.integers(0, 25), data=st.data())
    def roll_back(self, which: int, kill: int | None, data: st.DataObject) -> None:
        digest = data.draw(st.sampled_from(sorted(self.known)))
        self._run(self.stacks[which], self.known[digest], kill, back=True)

    @rule(which=st.integers(0, 1), kill=st.none() | st.integers(0, 25))
    def destroy(self, which: int, kill: int | None) -> None:
        stack = self.stacks[which]
        if stack.live is None:
            return
        releases = self._releases(stack)
        self.store.kill_at(kill)
        try:
            while stack.pending:
                releases.withdraw(*stack.pending[0], KEEP)
                stack.pending.pop(0)
            digest, token, _ = stack.live
            stack.live = None  # the pods are gone before
            stack.pending = [(digest, token)]
            releases.withdraw(digest, token, KEEP)
            stack.pending = []
        except KilledError:
            pass
        finally:
            self.store.kill_at(None)

    def _run(self, stack: Stack, plan: Plan, kill: int | None, *, back: bool) -> None:
        releases = self._releases(stack)
        stack.serial += 1
        token = f"{stack.owner}-{stack.serial}"
        self.store.kill_at(kill)
        try:
            if stack.live is None or stack.live[0] != plan.digest:
                try:
                    if back:
                        releases.adopt(plan.digest, token, SUBSETS)
                    else:
                        releases.publish(plan, token, subsets=SUBSETS)
                except FleetError:
                    assert back
                    return
                if stack.live is not None:
                    stack.pending.append(stack.live[:2])
                stack.live = (plan.digest, token, plan)
                self.known[plan.digest] = plan
                self.whole()
            while stack.pending:
                releases.withdraw(*stack.pending[0], KEEP)
                stack.pending.pop(0)
        except KilledError:
            pass
        finally:
            self.store.kill_at(None)

    @invariant()
    def whole(self) -> None:
        if not hasattr(self, "stacks"):
            return
        for stack in self.stacks:
            if stack.live is None:
                continue
            for file in stack.live[2].files:
                model = file.path.split("/")[0]
                key = f"{PREFIX}/models/{tree_name(model, stack.live[2].models[model])}/{file.path}"
                assert key in self.store.objects, key
                assert hashlib.sha256(self.store.objects[key]).hexdigest() == file.sha256
            for digest in (stack.live[0], *(stack.live[2].subset(models).digest for models in SUBSETS)):
                assert hashlib.sha256(self.store.objects[f"{PREFIX}/.manifests/{digest}.sums"]).hexdigest() == digest

    @invariant()
    def strangers_stay(self) -> None:
        if hasattr(self, "store"):
            assert self.store.objects["p/models/stranger-0123456789abcdef/stranger/1/model.py"] == b"mine"

    @invariant()
    def a_manifest_speaks_the_truth(self) -> None:
        """Nobody is told of a release that is not whole, but while a collection takes it apart."""
        if not hasattr(self, "store"):
            return
        releases = Catalog(self.store, PREFIX, "looker")
        marked = {claim.digest for claim in releases.claims()}
        for manifest in releases.manifests():
            if manifest.digest in marked:
                assert [path for path in releases.damage(manifest.digest) or [] if not path.endswith(".sums")] == []


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=60, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "PAUSE_S", 0.0)
    monkeypatch.setattr(publish, "_GARBAGE_S", 0.0)


def models(root: Path) -> Path:
    for model in MODELS:
        (root / model / "1").mkdir(parents=True)
        (root / model / "config.pbtxt").write_text('backend: "python"\n')
        (root / model / "1" / "model.py").write_text(f"# {model}\n")
    return root


def test_after_both_stacks_are_destroyed_nothing_is_left(tmp_path: Path) -> None:
    store = MemoryStore()
    root = models(tmp_path)
    for owner in ("one", "two"):
        Catalog(store, PREFIX, owner).publish(scan(root), owner)
    (root / "a/1/model.py").write_text("# other\n")
    first, second = scan(root).digest, None
    Catalog(store, PREFIX, "one").publish(scan(root), "x")
    assert store.copied == [key for key in store.copied if key.endswith("a/config.pbtxt")]
    for stack, digest, token in (("one", first, "x"), ("two", second, "two")):
        releases = Catalog(store, PREFIX, stack)
        wanted = digest or next(claim.digest for claim in releases.claims("two"))
        releases.withdraw(wanted, token, 3)
    assert store.objects == {}


@given(
    needs=st.dictionaries(st.sampled_from("abcd"), st.lists(st.sampled_from("abcd"), max_size=2).map(tuple)),
    deployments=st.lists(st.lists(st.sampled_from("abcd"), max_size=2).map(tuple), min_size=1, max_size=4),
    changed=st.sampled_from("abcd"),
)
def test_a_changed_model_rolls_the_deployments_that_load_it_and_no_other(
    needs: dict[str, tuple[str, ...]], deployments: list[tuple[str, ...]], changed: str
) -> None:
    """``needs`` may have circles and chains: an ensemble over an ensemble."""

    def release(content: str) -> Plan:
        return plan_of(PlannedFile(f"{model}/1/model.py", "", 1, content if model == changed else model, "", 0) for model in "abcd")

    def loaded(models: tuple[str, ...]) -> set[str]:
        found = set(models or "abcd")
        while more := {step for model in found for step in needs.get(model, ())} - found:
            found |= more
        return found

    for models in deployments:
        entry = ServingSettings(name="x", namespace="y", image="registry.example/triton:1", models=models or None)
        own = models_to_copy(entry, needs) or tuple("abcd")
        before, after = (release(content).subset(own) for content in ("old", "new"))
        assert (before.digest != after.digest) == (changed in loaded(models))
        assert plan_of(parse_sums(after.sums)).digest == after.digest


@pytest.mark.parametrize("step", range(40))
def test_publisher_and_collector_at_once(tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another stack publishes the very release that is being collected, at any moment of the collection."""
    store = MemoryStore()
    root = models(tmp_path)
    plan = scan(root)
    old = Catalog(store, PREFIX, "old")
    new = Catalog(store, PREFIX, "new")
    old.publish(plan, "t")
    changes = 0
    real = store._change

    def publish_in_between() -> None:
        nonlocal changes
        real()
        changes += 1
        if changes == step:
            monkeypatch.setattr(store, "_change", real)
            store._lock.release()
            try:
                store_clock(plan, new)
            finally:
                store._lock.acquire()

    def store_clock(plan: Plan, new: Catalog) -> None:
        marker = Catalog(store, PREFIX, "new")
        marker._claim(plan.digest, "n", tuple(tree_name(*model) for model in plan.models.items()), [], [])

    monkeypatch.setattr(store, "_change", publish_in_between)
    old.withdraw(plan.digest, "t", 0)
    new.publish(plan, "n")  # goes on from its mark, once the garbage is gone
    assert new.damage(plan.digest) == []
    assert old.claims("old") == []
