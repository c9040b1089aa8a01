"""Solutions step by step, each step judged."""

from typing import Any

from _job.cells import read_label
from _job.texts import UnusableRowError, read_text

STEP_MARK = "\u043a\u0438"
FIRST_STEP = "Step 1:"
STEP_VERDICTS = {"+": True, "-": False}


def read_steps(steps: Any, labels: Any) -> tuple[list[str], list[bool]]:
    """Return the steps and one label for each."""
    if not isinstance(steps, list | tuple) or not isinstance(labels, list | tuple):
        raise UnusableRowError("wrong_type")
    if not steps or len(steps) != len(labels):
        raise UnusableRowError("steps_differ")
    return [read_text(step, "empty_completion") for step in steps], [read_label(label) for label in labels]


def split_marked_steps(text: str, judged: str) -> tuple[str, list[str], list[bool]]:
    """Return the prompt, the steps and their labels from a text in which every step ends in a mark.

    `judged` is the same text with + or - for each mark. The prompt ends where the first step is named.
    """
    *steps, rest = text.split(STEP_MARK)
    labels: list[bool] = []
    place = 0
    for step in steps:
        place += len(step)
        if not judged.startswith(step, place - len(step)) or judged[place : place + 1] not in STEP_VERDICTS:
            raise UnusableRowError("steps_differ")
        labels.append(STEP_VERDICTS[judged[place]])
        place += 1
    prompt, found, first = steps[0].partition(FIRST_STEP) if steps else ("", "", "")
    if not found or rest.strip() or not prompt.strip():
        raise UnusableRowError("steps_differ")
    return prompt.strip(), [read_text(step.strip(), "empty_completion") for step in [found + first, *steps[1:]]], labels
