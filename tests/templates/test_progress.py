"""Progress lines."""

import json

import pytest

from tests.templates.job_modules import load_shared

progress = load_shared("progress")


class Tensor:
    """A number as a tensor library hands it over."""

    def item(self) -> float:
        """Return the number."""
        return 2.5


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """Return the JSON of the one line that was printed."""
    mark, tag, text = capsys.readouterr().out.split(" ", 2)
    assert (mark, tag) == ("TRL_MCP", progress.PROGRESS_TAG)
    assert text.count("\n") == 1

    def refuse(constant: str) -> object:
        raise AssertionError(f"{constant} is not strict JSON")

    return json.loads(text, parse_constant=refuse)


def test_a_progress_line_is_one_line_of_strict_json(capsys: pytest.CaptureFixture[str]) -> None:
    progress.report("log", loss=float("nan"), top=float("inf"), low=float("-inf"), text="a\nb\u2028", step=3)
    assert printed(capsys) == {
        "kind": "log",
        "loss": "nan",
        "top": "inf",
        "low": "-inf",
        "text": "a\nb\u2028",
        "step": 3,
    }


def test_tensors_are_reported_as_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    progress.report("log", grad_norm=Tensor(), nested={"a": (1, Tensor())})
    assert printed(capsys) == {"kind": "log", "grad_norm": 2.5, "nested": {"a": [1, 2.5]}}


def test_only_the_first_process_prints(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    progress.report("log", step=1)
    assert capsys.readouterr().out == ""


def test_an_exception_is_reported_and_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), progress.JobStage("data"):
        raise KeyError("text")
    assert printed(capsys) == {"kind": "error", "where": "data", "message": "KeyError: 'text'"}


def test_an_exit_with_a_message_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), progress.JobStage("data"):
        raise SystemExit("no row left")
    assert printed(capsys)["message"] == "no row left"


def test_an_exit_code_alone_is_not_reported(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), progress.JobStage("training"):
        raise SystemExit(75)
    assert capsys.readouterr().out == ""
