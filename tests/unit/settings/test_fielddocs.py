"""Texts of fields are read off the source when somebody asks."""

from __future__ import annotations

from components.fielddocs import field_docs
from components.settings.base import Model
from components.settings.repository import RepositorySettings


class Below(Model):
    """A class text is none of a field."""

    plain: int = 1
    """One line."""
    bare: int = 2
    long: int = 3
    """Two
    lines."""


class Further(Below):
    plain: int = 4
    more: int = 5
    """Its own."""


def test_each_field_has_the_text_below_it() -> None:
    assert field_docs(Below) == {"plain": "One line.", "long": "Two\nlines."}


def test_what_is_inherited_keeps_its_text_and_what_is_defined_anew_has_its_own() -> None:
    assert field_docs(Further) == {"long": "Two\nlines.", "more": "Its own."}


def test_models_of_the_settings_are_defined_without_reading_their_sources() -> None:
    assert RepositorySettings.model_fields["bucket"].description is None
    assert field_docs(RepositorySettings)["bucket"]
