"""A double over a folder of JSON files: the smallest cloud there is, for tests of what all doubles share."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from tests.doubles.provider import Call, Checked, CreateFailed, Double, DoubleError, Found, InitFailed, Props
from tests.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Shelf(Double):
    """Makes `shelf:index:Box`: `name` (its own or the engine's), `size` (needs a new one), `label`, `password`; output `arn`.

    The making of a box ends only when that of the box with the logical name `beside` has begun.
    """

    name = "shelf"
    version = "1.2.3"

    def replaces(self, token: str) -> Sequence[str]:
        return ("name", "size")

    def name_property(self, token: str) -> str | None:
        return "name"

    def computed(self, token: str) -> Sequence[str]:
        return ("arn",)

    def check(self, call: Call) -> Checked:
        unknown = sorted(set(call.inputs) - {"name", "size", "label", "password", "beside"})
        return Checked(inputs=call.named("name"), failures=tuple((key, f"{call.token} has no property {key}") for key in unknown))

    def _path(self, resource_id: str) -> Path:
        return self.world.folder / "shelf" / f"{resource_id}.json"

    def _write(self, resource_id: str, inputs: Props) -> Props:
        state = {**inputs, "arn": f"shelf:{resource_id}"}
        path = self._path(resource_id)
        path.parent.mkdir(exist_ok=True)
        new = path.with_suffix(f".{uuid.uuid4().hex}")  # another box may be reading it
        new.write_text(json.dumps(state))
        new.replace(path)
        return state

    def create(self, call: Call) -> tuple[str, Props]:
        for path in self._path("*").parent.glob("*.json"):
            if json.loads(path.read_text())["name"] == call.inputs["name"]:
                raise DoubleError(f"a box of the name {call.inputs['name']} exists")
        resource_id = f"box-{uuid.uuid4().hex[:8]}"
        state = self._write(resource_id, call.inputs)
        beside = call.inputs.get("beside")
        if beside:
            eventually(lambda: beside in {span.name for span in self.world.journal.spans()}, f"the box {beside}, which is made meanwhile")
        try:
            call.wait(0)
        except CreateFailed as error:
            raise InitFailed(str(error), resource_id=resource_id, state={**state, "arn": "broken"}) from error
        return resource_id, state

    def update(self, call: Call) -> Props:
        return self._write(call.id, call.inputs)

    def delete(self, call: Call) -> None:
        self._path(call.id).unlink(missing_ok=True)

    def read(self, call: Call) -> Found | None:
        if not self._path(call.id).exists():
            return None
        state: dict[str, Any] = json.loads(self._path(call.id).read_text())
        return Found(id=call.id, state=state, inputs={key: value for key, value in state.items() if key != "arn"})

    def invoke(self, call: Call) -> Props:
        if call.token != "shelf:index:count":
            return super().invoke(call)
        return {"boxes": len(list(self._path("*").parent.glob("*.json")))}
