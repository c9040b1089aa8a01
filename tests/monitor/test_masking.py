"""What leaves the server carries no terminal codes and no secrets."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trl_mcp.monitor.masking import MASK, clean_line

TOKENS = [
    "hf_" + "aB3dE6gH9j" * 3,
    "sk-" + "proj-" + "abcDEF123456" * 3,
    "ghp_" + "a1B2c3D4" * 4,
    "github_pat_" + "11ABCDEFG0" * 3,
    "xoxb-" + "1234567890-" * 2 + "abc",
]
SECRET = "correct horse battery"


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[1;38;5;208mbold\x1b[m", "bold"),
        ("\x1b]8;;http://a.b\x07link\x1b]8;;\x07", "link"),
        ("\x1b]0;title\x1b\\text", "text"),
        ("a\x08b\x00c\x7f", "abc"),
        ("\x9b31mred", "31mred"),
        ("10%|#\r50%|##\r100%|###", "100%|###"),
        ("10%|#\r50%|##\r", "50%|##"),
        ("a\tb", "a\tb"),
        ("plain", "plain"),
    ],
)
def test_terminal_codes_are_removed(line: str, clean: str) -> None:
    assert clean_line(line) == clean


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize(
    "text", ["{}", "token={}", "Bearer {}.", '"{}"', "https://user:{}@huggingface.co", "\x1b[1m{}"]
)
def test_tokens_are_masked_by_their_shape(token: str, text: str) -> None:
    assert clean_line(text.format(token)) == clean_line(text.format(MASK))


def test_a_token_cut_up_by_colours_is_masked() -> None:
    token = TOKENS[0]
    assert clean_line(f"{token[:12]}\x1b[31m{token[12:]}") == MASK


@pytest.mark.parametrize("line", ["hf_model", "use hf_hub_download here", "sk-learn", "task-force-of-many-people-x"])
def test_words_that_are_no_tokens_stay(line: str) -> None:
    assert clean_line(line) == line


@given(st.text(), st.text())
def test_a_secret_is_masked_wherever_it_stands(before: str, after: str) -> None:
    assert SECRET not in clean_line(before + SECRET + after, [SECRET])


@given(st.text(st.characters(max_codepoint=0x2FF)))
def test_no_line_steers_a_terminal(line: str) -> None:
    assert re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", clean_line(line)) is None


def test_short_secrets_would_mask_half_of_every_line() -> None:
    assert clean_line("a cat", ["a"]) == "a cat"
