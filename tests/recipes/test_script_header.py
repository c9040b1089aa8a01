"""A script's header is completed without a change to what its author wrote, and tells later what the script ran with."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trl_mcp.errors import InvalidArguments
from trl_mcp.plan.place import Place
from trl_mcp.plan.script import ScriptSettings, settings_of, with_settings
from trl_mcp.recipes.script_header import complete_header, read_script_header, without_job_table

BODY = 'print("# /// script")\n'
HERE = Place("local", "local")
ELSEWHERE = Place("cpu-basic", "alice", 3600)
REQUIREMENTS = ("trl", "trl[vllm]>=1.16", 'numpy>=2; python_version < "3.13"', "peft==0.21.2", "a.b-c_d~=1.0")
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True).filter(lambda name: not name.startswith("TRL_MCP"))


def header(*lines: str) -> str:
    return "".join(f"# {line}\n" if line else "#\n" for line in ("/// script", *lines, "///"))


@st.composite
def headers(draw: st.DrawFn) -> str:
    """Return a header as people write them."""
    listed = [f"'{each}'" for each in draw(st.lists(st.sampled_from(REQUIREMENTS), unique=True))]
    lists = {
        "none": [],
        "line": [f"dependencies = [{', '.join(listed)}]"],
        "lines": ["dependencies = [", *(f"    {each},  # why" for each in listed), "]"],
    }
    parts = [
        lists[draw(st.sampled_from(sorted(lists)))],
        draw(st.sampled_from([[], ['requires-python = ">=3.12"']])),
    ]
    tables = [
        [],
        ["", "[tool.uv]", "index = [", '  {url = "https://example.org/packages"},', "]"],
        ["[tool.hf-jobs]", 'image = "python:3.12"', "[tool.hf-jobs.env]", 'A = "1"'],
        ['[tool."other"]', "[[tool.more.of]]", "x = [", "  [1, 2],", "]"],
    ]
    ordered = draw(st.permutations(parts))
    return header(*(line for part in [*ordered, *draw(st.permutations(tables))] for line in part))


def parsed(text: str) -> dict[str, Any]:
    block = text[text.index("# /// script\n") : text.index("# ///\n")]
    return tomllib.loads("\n".join(line[2:] for line in block.split("\n")[1:]))


@given(headers(), st.lists(st.sampled_from(REQUIREMENTS), max_size=3))
def test_packages_are_added_and_all_else_stays(before: str, added: list[str]) -> None:
    text = complete_header(before + BODY, added)
    was, now = parsed(before), parsed(text)
    assert now.pop("dependencies") == [*added, *was.pop("dependencies", [])]
    assert now.pop("requires-python") == was.pop("requires-python", ">=3.11")
    assert now == was
    assert text.endswith(BODY)
    assert complete_header(text, []) == text


@given(headers())
def test_the_table_for_hf_jobs_is_taken_out_and_nothing_else(before: str) -> None:
    text = without_job_table(before + BODY)
    was = parsed(before)
    tools = {name: value for name, value in was.get("tool", {}).items() if name != "hf-jobs"}
    assert parsed(text) == {name: value for name, value in was.items() if name != "tool"} | (
        {"tool": tools} if tools else {}
    )
    assert without_job_table(text) == text


@given(
    headers(),
    st.lists(TEXTS, max_size=3),
    st.dictionaries(NAMES, TEXTS, max_size=3),
    st.lists(NAMES, max_size=2, unique=True),
    st.sampled_from([HERE, ELSEWHERE]),
)
def test_a_script_tells_what_it_ran_with(
    before: str, arguments: list[str], env: dict[str, str], secrets: list[str], place: Place
) -> None:
    settings = ScriptSettings(tuple(arguments), env, tuple(secrets), "" if place.is_local else "a/b:1", "a-name")
    text = with_settings(complete_header(before + BODY, []), settings, place)
    assert settings_of(text) == settings
    again = with_settings(text, settings, place)
    assert again == text


def test_a_script_without_a_header_gets_one_behind_its_first_lines() -> None:
    text = complete_header("#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n" + BODY, ["trl", "peft"])
    assert text == (
        "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n# /// script\n"
        '# requires-python = ">=3.11"\n# dependencies = ["trl", "peft"]\n# ///\n' + BODY
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (header("dependencies = ["), "no valid TOML"),
        (header('dependencies = "trl"'), "a list of texts"),
        (header("dependencies = [1]"), "a list of texts"),
        (header('dependencies = ["trl =>1"]'), "no requirement"),
        (header('requires-python = "three"'), "a range of versions"),
        (header("tool = 3"), "a table"),
        (header("[tool.hf-jobs]", "env = {A = [1]}"), "A in env in [tool.hf-jobs]"),
        (header("[tool.hf-jobs]", "image = true"), "image in [tool.hf-jobs]"),
        (header() + BODY + header(), "two headers"),
        ("# /// script\n# dependencies = []\n" + BODY, "not closed"),
    ],
)
def test_a_header_that_cannot_be_read_says_why(text: str, words: str) -> None:
    with pytest.raises(InvalidArguments) as refused:
        read_script_header(text + BODY)
    assert words in str(refused.value)
    assert "Nothing was started." in str(refused.value)


@pytest.mark.parametrize("text", [header("tool.hf-jobs.image = 'a'"), header("[tool]", "hf-jobs = {image = 'a'}")])
def test_a_table_in_another_form_is_refused_and_not_lost(text: str) -> None:
    with pytest.raises(InvalidArguments, match="a table of its own"):
        without_job_table(text + BODY)


def test_a_list_under_another_name_is_refused_where_packages_are_to_be_added() -> None:
    text = header('"dependencies" = ["trl"]') + BODY
    assert "peft" not in complete_header(text, [])
    with pytest.raises(InvalidArguments, match="cannot be added"):
        complete_header(text, ["peft"])
