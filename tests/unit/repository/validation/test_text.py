"""Values of the wrong type and unfilled templates: messages name the field or placeholder, and only what protobuf refuses is reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from google.protobuf import text_format

from components.repository.validation.report import Report
from components.repository.validation.schema import schema
from components.repository.validation.text import parse

if TYPE_CHECKING:
    from collections.abc import Iterator

VALUES: Final = ('"x"', '"8"', "8", "-1", "1.5", "1e3", "0x1F", "x", "yes", "True", "inf", "TYPE_FP32", '"TYPE_FP32"', "{ }", "[ 8 ]")


def fields(message: Any, before: str = "", after: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """The text before and after the value of each field of Triton's schema, also of its messages' fields."""
    for field in message.fields:
        if message.GetOptions().map_entry and field.name == "key":
            continue
        yield f"{before}{field.name}: ", after
        if field.message_type is not None and depth < 5:
            yield from fields(field.message_type, f"{before}{field.name} {{ {entry_key(field.message_type)}", f" }}{after}", depth + 1)


def entry_key(message: Any) -> str:
    if not message.GetOptions().map_entry:
        return ""
    key = message.fields_by_name["key"]
    return 'key: "k" ' if key.cpp_type == key.CPPTYPE_STRING else "key: 1 "


def refused(text: str) -> bool:
    try:
        text_format.Parse(text, schema().ModelConfig())
    except text_format.ParseError:
        return True
    return False


def test_every_field_with_every_kind_of_value() -> None:
    found = list(fields(schema().ModelConfig.DESCRIPTOR))
    assert len(found) > 150
    for before, after in found:
        for value in VALUES:
            text = f"{before}{value}{after}"
            report = Report("m")
            parsed = parse(text, report)
            assert (parsed is None) == refused(text), text
            if parsed is None:
                (problem,) = report.problems
                assert problem.line == 1, text
                assert "not a valid model configuration" not in problem.text, text
                assert before.rstrip(": ").rpartition(" ")[2] in problem.text.partition(" must be ")[0] or "value: " in before, text


@pytest.mark.parametrize(
    ("text", "placeholders"),
    [
        ("max_batch_size: ${size}", "${size} (line 1)"),
        ("max_batch_size: ${{ vars.size }}", "${{ vars.size }} (line 1)"),
        ("max_batch_size: $SIZE", "$SIZE (line 1)"),
        ("max_batch_size: $(size)", "$(size) (line 1)"),
        ("max_batch_size: {{ size | default(8) }}", "{{ size | default(8) }} (line 1)"),
        ("max_batch_size: {size}", "{size} (line 1)"),
        ("max_batch_size: %(size)s", "%(size)s (line 1)"),
        ("max_batch_size: %d", "%d (line 1)"),
        ("max_batch_size: %SIZE%", "%SIZE% (line 1)"),
        ("max_batch_size: @SIZE@", "@SIZE@ (line 1)"),
        ("max_batch_size: __SIZE__", "__SIZE__ (line 1)"),
        ("max_batch_size: [[ size ]]", "[[ size ]] (line 1)"),
        ("max_batch_size: <batch size>", "<batch size> (line 1)"),
        ("max_batch_size: MAX_BATCH", "MAX_BATCH (line 1)"),
        ("max_batch_size: #MAX_BATCH\n", "#MAX_BATCH (line 1)"),
        ("max_batch_size: #MAX_BATCH\r\n", "#MAX_BATCH (line 1)"),
        ("max_batch_size: #{size}\n", "#{size} (line 1)"),
        ("max_batch_size: <%= size %>", "<%= size %> (line 1)"),
        ("input { data_type: TYPE_${type} }", "TYPE_${type} (line 1)"),
        ("input { data_type: TYPE_{{ type }} }", "TYPE_{{ type }} (line 1)"),
        ("name: MODEL_NAME", "MODEL_NAME (line 1)"),
        ("model_transaction_policy { decoupled: DECOUPLED }", "DECOUPLED (line 1)"),
        ("input { data_type: TYPE_#DTYPE }", "TYPE_#DTYPE (line 1)"),
        ("input { data_type: TYPE_DTYPE }", "TYPE_DTYPE (line 1)"),
        ("input { data_type: INPUT_DATA_TYPE }", "INPUT_DATA_TYPE (line 1)"),
        ("{% for x in y %}\n input { name: {{ x }} dims: [ {% if z\n %} 1 {% endif %} ] }\n{# note #}\n{% endfor %}", None),
        (
            'max_batch_size: ${a}\nname: "${b}" # ${c}\nbackend: "{{ d }}"\nplatform: "${a}"',
            "${a} (lines 1, 4), ${b} (line 2), {{ d }} (line 3)",
        ),
    ],
)
def test_a_template_names_its_placeholders(text: str, placeholders: str | None) -> None:
    report = Report("m")
    assert parse(text, report) is None
    (problem,) = report.problems
    assert problem.text.startswith("is a template with unfilled placeholders: ")
    assert "Did you mean" not in problem.text
    if placeholders is None:
        assert problem.text.count("(line") == 5
    else:
        assert f" placeholders: {placeholders}: Triton would not load m." in problem.text


@pytest.mark.parametrize(
    "text",
    [
        "max_batch_size: # ${size}\n 8",
        "max_batch_size: #SIZE\n 8#MAX_BATCH",
        'parameters { key: "EOS" value { string_value: "<eos> %s $HOME @x@ __x__ {x}" } }',
        "parameters { key: 'chat_template' value { string_value: \"{% for m in messages %}{{ m }}{% endfor %}\" } }",
        'backend: "tensorrtllm" parameters { key: "max_beam_width" value { string_value: "${max_beam_width}" } }',
        "input < name: 'x' >",
        "input: [ { dims: [ 1 ] } ]",
    ],
)
def test_what_only_looks_like_a_template(text: str) -> None:
    report = Report("m")
    assert parse(text, report) is not None
    assert report.problems == []


@pytest.mark.parametrize("word", ["TRUE", "NONE", "None", "yes", "Off", "NULL", "Nan"])
def test_a_word_that_means_a_value_is_no_placeholder(word: str) -> None:
    report = Report("m")
    assert parse(f"max_batch_size: {word}", report) is None
    assert [problem.text for problem in report.problems] == [
        f"max_batch_size ({word}) must be an integer: Triton would not load m. Set a number."
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name:\u00a0"m"', "is not a valid model configuration (no-break space outside of a string)"),
        ("name: \u201cm\u201d", "is not a valid model configuration (left double quotation mark outside of a string)"),
        ('name: "m"\u2028', "is not a valid model configuration (line separator outside of a string)"),
        ("max_batch_size: 0b1", "max_batch_size (0b1) must be an integer"),
        ("max_batch_size: 1_0", "max_batch_size (1_0) must be an integer"),
        ("max_batch_size: +1", "max_batch_size (+1) must be an integer"),
        ("sequence_batching { direct { minimum_slot_utilization: 0.1_0 } }", "is not a valid model configuration (invalid number 0.1_0)"),
        ('name: "a\0b"', "is not a valid model configuration (a null character)"),
        ('name: "\\m"', "is not a valid model configuration (invalid escape sequence in a string)"),
    ],
)
def test_what_only_pythons_protobuf_accepts(text: str, message: str) -> None:
    report = Report("m")
    assert parse(text, report) is None
    (problem,) = report.problems
    assert problem.text.startswith(f"{message}: Triton would not load m. ")


@pytest.mark.parametrize("text", ['name: "größe\u00a0x_1 +1 0b1" # ü 1_0\n', "name: 'in_1'\nmax_batch_size: 0x1F"])
def test_what_protobuf_for_cpp_accepts(text: str) -> None:
    report = Report("m")
    assert parse(text, report) is not None
    assert report.problems == []


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ('// a comment\nname: "m"', "Comments begin with #."),
        ("/* a comment */", "Comments begin with #."),
        ('{"name": "m"}', "It looks like JSON: write protobuf's text format, without the outer braces and without quotes around names."),
        ("name: m\ninput:\n  - name: IN\n", "It looks like YAML: write protobuf's text format."),
        ("input { dims: [ 1, ] }", "Remove the comma before the bracket."),
        ("input [\n{ },\n]", "Remove the comma before the bracket."),
        ("input [ { } { } ]", "Separate the messages of a list by a comma."),
        ("input { dims: ( 1 ) }", "Write lists in brackets: [ ]."),
    ],
)
def test_a_slip_names_its_remedy(text: str, remedy: str) -> None:
    report = Report("m")
    assert parse(text, report) is None
    assert report.problems[-1].text.endswith(f" Triton would not load m. {remedy}")
