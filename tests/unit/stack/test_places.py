"""What stands in for a value that can't be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from components.base.model import DEFER_RULES
from components.stack.places import models_in, stand_in
from components.stack.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.base.model import Model


def models(model: type[Model], seen: set[type[Model]]) -> Iterator[type[Model]]:
    if model not in seen:
        seen.add(model)
        yield model
        for field in model.model_fields.values():
            for inner in models_in(field.annotation):
                yield from models(inner, seen)


MODELS = list(models(Settings, set()))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_required_value_has_a_stand_in_that_can_be_read(model: type[Model]) -> None:
    values = {field.alias: stand_in(field.annotation, field) for field in model.model_fields.values() if field.is_required()}
    assert isinstance(model.model_validate(values, by_alias=True, by_name=False, context=DEFER_RULES), model)
