"""Property values: protobuf `Struct` <-> Python.

Pulumi sends values that JSON can't represent (secrets, unknown values, assets, references to resources) as objects with a signature. They
become `Secret`, `UNKNOWN`, `Asset` and `Archive`; everything else is a plain dict, list, str, int, float, bool or None.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    from google.protobuf import struct_pb2

Props: TypeAlias = dict[str, Any]

# From the protocol (sdk/go/common/resource: sig.go, plugin/rpc.go).
_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  # a signature
_ASSET: Final = "c44067f5952c0a294b673a41bacd8c17"
_ARCHIVE: Final = "0def7320c3a5731c473e5ecbe6d01bc7"
_RESOURCE: Final = "5cf8f73096256a8f31e491e813e4eb8e"
_OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_UNKNOWN_STRINGS: Final = frozenset(
    {
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",  # string; current engines send it for values of any type
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)
_UNKNOWN_STRING: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

# Fields of a CustomResourceDefinition that the SDKs write with underscores instead of dashes.
_DASHED: Final = {
    name.replace("-", "_"): name
    for name in (
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    )
}
_UNDERSCORED: Final = {dashed: under for under, dashed in _DASHED.items()}

_EXACT_FLOAT: Final = 2**53  # beyond it, a double can't represent every integer


class _Unknown:
    """A value that is unknown until a resource has been created."""

    _instance: _Unknown | None = None

    def __new__(cls) -> _Unknown:  # noqa: PYI034  # a singleton: a deep copy must stay the same object
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        return True

    def __copy__(self) -> _Unknown:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> _Unknown:
        return self


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that must be encrypted wherever it is stored."""

    value: Any

    def __repr__(self) -> str:
        return "Secret(...)"


@dataclass(frozen=True)
class Asset:
    """A file: a text, a path or a URL."""

    raw: tuple[tuple[str, Any], ...]

    def read(self) -> bytes:
        """The content.

        Raises:
            OSError: The file can't be read.
            ValueError: The asset is at a URL, which this provider does not support.
        """
        fields = dict(self.raw)
        if fields.get("text"):
            return str(fields["text"]).encode()
        if fields.get("path"):
            return Path(str(fields["path"])).read_bytes()
        if fields.get("uri"):
            raise ValueError(f"asset {fields['uri']}: remote assets are not supported; read the file in the program and pass a StringAsset")
        return b""


@dataclass(frozen=True)
class Archive:
    """A collection of files, which is passed through."""

    raw: tuple[tuple[str, Any], ...]


def decode(struct: struct_pb2.Struct) -> Props:
    """A request's properties as Python values."""
    return {key: _decode_value(value) for key, value in struct.fields.items()}


def _decode_value(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            return UNKNOWN if value.string_value in _UNKNOWN_STRINGS else value.string_value
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) < _EXACT_FLOAT else number
        case "bool_value":
            return value.bool_value
        case "list_value":
            return [_decode_value(item) for item in value.list_value.values]
        case "struct_value":
            return _decode_struct(value.struct_value)
        case _:
            return None


def _decode_struct(struct: struct_pb2.Struct) -> Any:  # noqa: PLR0911  # one return a signature
    fields = struct.fields
    if _SIGNATURE not in fields:
        return decode(struct)
    match fields[_SIGNATURE].string_value:
        case sig if sig == _SECRET:
            return Secret(_decode_value(fields["value"]))
        case sig if sig == _OUTPUT:
            inner = _decode_value(fields["value"]) if "value" in fields else UNKNOWN
            return Secret(inner) if "secret" in fields and fields["secret"].bool_value else inner
        case sig if sig == _ASSET:
            return Asset(tuple((key, _decode_value(item)) for key, item in sorted(fields.items()) if key != _SIGNATURE))
        case sig if sig == _ARCHIVE:
            return Archive(tuple((key, _decode_value(item)) for key, item in sorted(fields.items()) if key != _SIGNATURE))
        case sig if sig == _RESOURCE:
            # A reference to a resource stands for its ID.
            return _decode_value(fields["id"]) if "id" in fields else _decode_value(fields["urn"])
        case _:
            return decode(struct)


def encode(props: Props) -> struct_pb2.Struct:
    """Python values as a response's properties."""
    from google.protobuf import struct_pb2  # noqa: PLC0415  # keeps the pure modules fast to import

    struct = struct_pb2.Struct()
    for key, value in props.items():
        _encode_into(struct.fields[key], value)
    return struct


def _encode_into(target: struct_pb2.Value, value: Any) -> None:  # noqa: C901, PLR0912  # one branch a type
    if value is None:
        target.null_value = 0  # type: ignore[assignment]  # the enum has this one value
    elif value is UNKNOWN:
        target.string_value = _UNKNOWN_STRING
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int | float):
        target.number_value = float(value)
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, bytes):
        target.string_value = base64.b64encode(value).decode()
    elif isinstance(value, dict):
        target.struct_value.SetInParent()
        for key, item in value.items():
            _encode_into(target.struct_value.fields[str(key)], item)
    elif isinstance(value, list | tuple):
        target.list_value.SetInParent()
        for item in value:
            _encode_into(target.list_value.values.add(), item)
    elif isinstance(value, Secret):
        target.struct_value.fields[_SIGNATURE].string_value = _SECRET
        _encode_into(target.struct_value.fields["value"], value.value)
    elif isinstance(value, Asset | Archive):
        target.struct_value.fields[_SIGNATURE].string_value = _ASSET if isinstance(value, Asset) else _ARCHIVE
        for key, item in value.raw:
            _encode_into(target.struct_value.fields[key], item)
    else:
        raise TypeError(f"the protocol does not support properties of type {type(value).__name__}")


def reveal(value: Any) -> Any:
    """A copy without `Secret` wrappers."""
    if isinstance(value, Secret):
        return reveal(value.value)
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal(item) for item in value]
    return value


def to_object(props: Props) -> Props:
    """Inputs as a Kubernetes object: without secret wrappers, with dashes in `x-kubernetes-*` keys."""
    result = _rename(reveal(props), _DASHED)
    assert isinstance(result, dict)  # noqa: S101  # a dict goes in, a dict comes out
    return result


def from_object(obj: Props) -> Props:
    """A Kubernetes object as properties, with underscores in `x-kubernetes-*` keys, as the SDKs expect."""
    result = _rename(obj, _UNDERSCORED)
    assert isinstance(result, dict)  # noqa: S101
    return result


def _rename(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): _rename(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_rename(item, names) for item in value]
    return value


def has_unknown(value: Any) -> bool:
    """Whether anything in a value is unknown."""
    if value is UNKNOWN:
        return True
    if isinstance(value, Secret):
        return has_unknown(value.value)
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return False


def has_secret(value: Any) -> bool:
    """Whether anything in a value is secret."""
    if isinstance(value, Secret):
        return True
    if isinstance(value, dict):
        return any(has_secret(item) for item in value.values())
    if isinstance(value, list):
        return any(has_secret(item) for item in value)
    return False


def keep_secret(outputs: Any, inputs: Any) -> Any:
    """Outputs, in which everything is secret that is secret at the same path in the inputs.

    The items of a list with another length than its input do not correspond: the whole list becomes secret if any input item is.
    """
    if isinstance(outputs, Secret):
        return outputs
    if isinstance(inputs, Secret):
        return Secret(reveal(outputs))
    if isinstance(outputs, dict) and isinstance(inputs, dict):
        return {key: keep_secret(item, inputs.get(key)) for key, item in outputs.items()}
    if isinstance(outputs, list) and isinstance(inputs, list):
        if len(outputs) == len(inputs):
            return [keep_secret(new, old) for new, old in zip(outputs, inputs, strict=True)]
        return Secret(outputs) if has_secret(inputs) else outputs
    return outputs


def without_none(value: Any) -> Any:
    """A copy without keys whose value is None. None is kept in lists, where it has a position."""
    if isinstance(value, dict):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_none(item) for item in value]
    return value
