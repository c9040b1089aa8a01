"""Screening whole batches finds the very same as looking at every row."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.desk import compute, pyarrow, talk
from trl_mcp.data.checks import PLACEHOLDER, SECRET, SUSPECT_TEXT, are_edges_far, are_near, row_notes, text_notes
from trl_mcp.data.scan import RowScan
from trl_mcp.data.sources import Chunk
from trl_mcp.render.templates import job_module

ODD_TEXTS = [
    "",
    " \n",
    "\u00a0\u3000",
    "\x1c",
    "\u200b",
    "Hello {{name}}",
    "{{ }}",
    "<your name>",
    "hf_" + "a1B2" * 9,
    "sk-proj-" + "a1B2" * 9,
    "AKIA" + "ABCD" * 4,
    "task-sk-x",
    "-----BEGIN PRIVATE KEY-----",
    '[{"role": "user", "content": "x"}]',
    "Human: hi\n\nAssistant: hello",
    "Stra\u00dfe",
    "one two three four five six seven",
    "one two three four five six sevens",
    "\U0001f600" * 5,
]
TEXTS = st.sampled_from(ODD_TEXTS) | st.text(max_size=30) | st.none()
USUAL = st.text(st.characters(codec="utf-8", categories=["L", "N"]), min_size=1, max_size=20)
ROLES = st.sampled_from(["user", "assistant"]) | st.sampled_from(["system", "tool", "human", "gpt", "User", "x", ""])


def turns(speaker: str, content: str, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    usual = st.lists(USUAL, min_size=1, max_size=2).map(
        lambda texts: [
            {speaker: role, content: text} | dict.fromkeys(more)
            for text in texts
            for role in (("user", "assistant") if speaker == "role" else ("human", "gpt"))
        ]
    )
    turn = st.fixed_dictionaries({speaker: st.none() | ROLES, content: TEXTS, **more}) | st.none()
    return usual | st.lists(turn, max_size=4) | st.none()


def a_struct(*names: str) -> Any:
    return pyarrow.list_(pyarrow.struct([(name, pyarrow.string()) for name in names]))


TEXT = pyarrow.string()
LAYOUTS: dict[str, tuple[str, dict[str, st.SearchStrategy[Any]], Any]] = {
    "messages": ("sft", {"messages": turns("role", "content")}, [("messages", a_struct("role", "content"))]),
    "more fields": (
        "sft",
        {"messages": turns("role", "content", name=st.none() | USUAL)},
        [("messages", a_struct("role", "content", "name"))],
    ),
    "from/value": ("sft", {"conversations": turns("from", "value")}, [("conversations", a_struct("from", "value"))]),
    "exchange": ("sft", {"prompt": TEXTS, "completion": TEXTS}, [("prompt", TEXT), ("completion", TEXT)]),
    "text": ("sft", {"text": TEXTS}, [("text", pyarrow.large_string())]),
    "pair": (
        "dpo",
        {"prompt": TEXTS, "chosen": TEXTS, "rejected": TEXTS},
        [("prompt", TEXT), ("chosen", TEXT), ("rejected", TEXT)],
    ),
    "judged pair": (
        "kto",
        {"prompt": TEXTS, "chosen": TEXTS, "rejected": TEXTS},
        [("prompt", TEXT), ("chosen", TEXT), ("rejected", TEXT)],
    ),
    "judged": (
        "kto",
        {"prompt": TEXTS, "completion": TEXTS, "label": st.booleans() | st.none()},
        [("prompt", TEXT), ("completion", TEXT), ("label", pyarrow.bool_())],
    ),
    "judged messages": (
        "kto",
        {"messages": turns("role", "content"), "label": st.booleans()},
        [("messages", a_struct("role", "content")), ("label", pyarrow.bool_())],
    ),
    "question": ("grpo", {"prompt": TEXTS}, [("prompt", TEXT)]),
    "asked": ("grpo", {"messages": turns("role", "content")}, [("messages", a_struct("role", "content"))]),
}


def conversion_of(rows: list[dict[str, Any]], method: str, **rules: Any) -> Any:
    conversion = job_module("conversion")
    return conversion.find_conversion(rows, conversion.RowRules(method, **rules))


def seen(conversion: Any, rows: Any, *, screened: bool, parts: int = 2) -> dict[str, Any]:
    """Scan a batch, or rows as dicts, in slices, as they come from files, and return all that was found."""
    scan = RowScan(conversion, screened=screened)
    size = -(-len(rows) // parts)
    for first in range(0, len(rows), size):
        scan.take(Chunk(1000 + first, rows[first : first + size], is_batch=not isinstance(rows, list)))
    return {
        "checked": scan.checked,
        "kept": scan.kept,
        "dropped": {name: (count, scan.dropped.rows(name)) for name, count in scan.dropped.counts.items()},
        "noted": {name: (count, scan.noted.rows(name)) for name, count in scan.noted.counts.items()},
        "labels": scan.labels,
        "characters": +scan.characters,
        "sample": [(row.number, row.characters, row.row) for row in scan.sample.rows()],
    }


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=50)
@given(data=st.data())
def test_screening_changes_nothing_of_what_is_found(layout: str, data: st.DataObject) -> None:
    method, columns, types = LAYOUTS[layout]
    rows = data.draw(st.lists(st.fixed_dictionaries(columns), min_size=1, max_size=12))
    rules = data.draw(st.sampled_from([{}, {"system_prompt": "Be brief."}, {"system_prompt": "Be {{brief}}."}]))
    chat_template = layout in ("exchange", "text", "pair") and data.draw(st.booleans())
    try:
        conversion = conversion_of(rows, method, chat_template=not chat_template, **rules)
    except job_module("columns").UnclearColumnsError:
        return
    batch = pyarrow.RecordBatch.from_pylist(rows, schema=pyarrow.schema(types))
    assert seen(conversion, batch, screened=True) == seen(conversion, batch, screened=False)
    assert seen(conversion, rows, screened=True) == seen(conversion, rows, screened=False)


@pytest.mark.parametrize(
    ("rows", "method"),
    [
        ([talk()], "sft"),
        ([{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}], "sft"),
        ([{"question": "How?", "answer": "So."}], "sft"),
        ([{"text": "Once upon a time"}], "sft"),
        ([{"prompt": "How far is it?", "chosen": "It is near enough", "rejected": "Nobody knows this"}], "dpo"),
        ([{"prompt": "How?", "completion": "So.", "label": True}], "kto"),
        ([talk() | {"label": False}], "kto"),
        ([{"prompt": "How?"}], "grpo"),
    ],
)
def test_usual_rows_need_no_second_look(rows: list[dict[str, Any]], method: str) -> None:
    conversion = conversion_of(rows, method)
    batch = pyarrow.RecordBatch.from_pylist(rows)
    screen = RowScan(conversion).screen
    assert screen is not None
    screened = screen.look(batch)
    assert screened is not None
    assert list(screened.fine) == [True]
    (converted,) = conversion.convert(rows[0])
    assert list(row_notes(converted, conversion.targets)) == []


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=3), st.text(max_size=3))
def test_texts_that_are_nearly_the_same_never_pass_for_far(start: str, end: str, one: str, two: str) -> None:
    chosen, rejected = start + one + end, start + two + end
    edges = (chosen[:64], rejected[:64], chosen[-64:], rejected[-64:])
    assert not (are_near(chosen, rejected) and are_edges_far(*edges))


@given(st.text(max_size=60))
def test_whatever_holds_a_secret_or_a_placeholder_is_suspect_to_both_engines(text: str) -> None:
    for odd in ODD_TEXTS:
        whole = text + odd
        if SECRET.search(whole) or PLACEHOLDER.search(whole):
            assert text_notes([whole])
            assert compute.match_substring_regex(pyarrow.array([whole]), SUSPECT_TEXT)[0].as_py()


@pytest.mark.parametrize(
    "odd",
    [5, "text", ["a", "b"], {"role": "user"}, [{"role": "user", "content": 3}], [{"role": "user", "extra": 2**70}]],
)
def test_one_row_of_another_type_among_usual_ones_is_found(odd: object) -> None:
    rows: list[dict[str, Any]] = [talk(str(number)) for number in range(40)]
    rows[17] = {"messages": odd}
    found = seen(conversion_of(rows, "sft"), rows, screened=True, parts=1)
    assert (found["kept"], [numbers for _, numbers in found["dropped"].values()]) == (39, [(1017,)])
