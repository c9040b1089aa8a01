import pytest
from hypothesis import given
from hypothesis import strategies as st

from trl_mcp.errors import InvalidArguments
from trl_mcp.plan.timeouts import in_words, timeout_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("90m", 5400),
        ("2h", 7200),
        ("1.5h", 5400),
        ("1d", 86400),
        (" 2 H ", 7200),
        ("30d", 30 * 86400),
        ("auto", None),
        (" Auto", None),
    ],
)
def test_a_timeout_is_read_as_people_write_it(text: str, seconds: int | None) -> None:
    assert timeout_seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "0.1s", "-1h", "31d", "2 hours", "1h30m", "h", "inf", "nan", "1e3", "٣h", "9" * 999]
)
def test_any_other_timeout_is_refused_with_the_forms_it_may_have(text: str) -> None:
    with pytest.raises(InvalidArguments, match=r"timeout cannot be .* 90m, 2h or 1d"):
        timeout_seconds(text)


@given(st.text() | st.from_regex(r"\d+(\.\d+)? ?[smhd]?"))
def test_any_text_is_a_time_of_up_to_a_month_or_refused(text: str) -> None:
    try:
        seconds = timeout_seconds(text)
    except InvalidArguments:
        return
    assert seconds is None or 1 <= seconds <= 30 * 86400


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7140, "119 min"), (7500, "2 h 5 min")]
)
def test_a_time_span_reads_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
