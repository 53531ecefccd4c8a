"""Property values on their way through the protocol."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.plugins.kubernetes.properties import (
    UNKNOWN,
    Asset,
    Secret,
    decode,
    encode,
    from_object,
    has_secret,
    has_unknown,
    keep_secret,
    reveal,
    to_object,
    without_none,
)

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**52), 2**52)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda value: not value.is_integer())
    | st.text(max_size=8)
    | st.just(UNKNOWN),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3) | st.builds(Secret, inner),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), PLAIN, max_size=4))
def test_values_survive_the_protocol(props: dict[str, Any]) -> None:
    assert decode(encode(props)) == props


def test_integers_come_back_as_integers() -> None:
    result = decode(encode({"replicas": 3, "ratio": 0.5, "zero": 0}))
    assert result == {"replicas": 3, "ratio": 0.5, "zero": 0}
    assert isinstance(result["replicas"], int)


def test_outputs_are_their_values() -> None:
    signature = "4dabf18193072939515e22adb298388d"
    output = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
    sent = encode(
        {
            "known": {signature: output, "value": "x", "dependencies": ["urn"]},
            "secret": {signature: output, "value": "x", "secret": True},
            "unknown": {signature: output},
        }
    )
    assert decode(sent) == {"known": "x", "secret": Secret("x"), "unknown": UNKNOWN}


def test_asset_is_read(tmp_path: Any) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("a: 1")
    assert Asset((("path", str(file)),)).read() == b"a: 1"
    assert Asset((("text", "b: 2"),)).read() == b"b: 2"
    with pytest.raises(ValueError, match="StringAsset"):
        Asset((("uri", "https://example.invalid/x"),)).read()


def test_secrecy_follows_places() -> None:
    inputs = {"a": Secret("x"), "b": {"c": Secret(1), "d": 2}, "list": [1, Secret(2)], "other": [Secret(1)]}
    outputs = {"a": "x", "b": {"c": 1, "d": 2, "e": 3}, "list": [1, 2], "other": [1, 2], "more": 4}
    kept = keep_secret(outputs, inputs)
    assert kept == {"a": Secret("x"), "b": {"c": Secret(1), "d": 2, "e": 3}, "list": [1, Secret(2)], "other": Secret([1, 2]), "more": 4}
    assert reveal(kept) == outputs
    assert has_secret(kept)
    assert not has_secret(outputs)


def test_a_secret_is_not_shown() -> None:
    assert "hunter2" not in repr(Secret("hunter2"))


def test_unknown_is_found_anywhere() -> None:
    assert has_unknown({"a": [{"b": Secret(UNKNOWN)}]})
    assert not has_unknown({"a": [1, None]})


def test_dashes_of_definitions() -> None:
    props = {"schema": {"x_kubernetes_preserve_unknown_fields": True, "x_other": 1}}
    obj = to_object(props)
    assert obj == {"schema": {"x-kubernetes-preserve-unknown-fields": True, "x_other": 1}}
    assert from_object(obj) == props


def test_nulls_go_but_keep_their_place_in_lists() -> None:
    assert without_none({"a": None, "b": [None, {"c": None}], "d": {}}) == {"b": [None, {}], "d": {}}


def test_what_has_no_place_is_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        encode({"a": {1, 2}})
