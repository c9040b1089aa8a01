"""Rows in the form that a method's trainer reads, once it is known which column plays which part.

A conversation always goes through the model's chat template; where it has none, everything stays text. All rows of
one `RowShaper` have the same columns, and each column one type.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from _job.cells import json_value, read_label, written_value
from _job.columns import ColumnSource
from _job.compared import first_is_better
from _job.naming import plain_name
from _job.pairs import join_answer, split_answer, split_pair, split_texts, transcript_opening, without_answer
from _job.reading import RowReader
from _job.steps import read_steps, split_marked_steps
from _job.texts import Row, UnusableRowError, read_text

SIDES = ("chosen", "rejected")


@dataclass(frozen=True)
class RowShaper(RowReader):
    """Makes rows of one form out of their parts; every other column is passed on where the method has uses for it.

    `texts` are those of the `others` that hold text; they do so in every row.
    """

    form: str = "text"
    others: Mapping[str, ColumnSource] = field(default_factory=dict[str, ColumnSource])
    texts: frozenset[str] = frozenset()

    def shape(self, row: Mapping[str, Any]) -> list[Row]:
        """Return what becomes of a row; two rows where each answer of a pair is judged alone."""
        return getattr(self, f"shape_{self.form}")(row)

    def shape_text(self, row: Mapping[str, Any]) -> list[Row]:
        """Return a text to go on with."""
        return [{"text": self.text(row, "text", "empty_text")}]

    def shape_conversation(self, row: Mapping[str, Any]) -> list[Row]:
        """Return a conversation."""
        return [{"messages": self.conversation(row)} | self.extras(row)]

    def shape_answered(self, row: Mapping[str, Any]) -> list[Row]:
        """Return a conversation that ends with the answer to learn."""
        turns = self.conversation(row) if "messages" in self.parts else None
        if turns is None:
            turns = [*self.opened(row, self.question(row)), *self.answer(row, "completion")]
        split_answer(turns)
        return [{"messages": turns} | self.extras(row)]

    def shape_exchange(self, row: Mapping[str, Any]) -> list[Row]:
        """Return a prompt and its completion."""
        if self.chat_template:
            prompt = self.opened(row, self.question(row))
            return [{"prompt": prompt, "completion": self.answer(row, "completion")} | self.extras(row)]
        prompt, completion = self.prompt_text(row), self.text(row, "completion", "empty_completion")
        prompt, completion = join_answer(prompt, completion)
        return [{"prompt": prompt, "completion": completion}]

    def shape_judged(self, row: Mapping[str, Any]) -> list[Row]:
        """Return a prompt, its completion and whether that is a good one."""
        label = read_label(self.cell(row, "label"))
        if "messages" not in self.parts:
            return [shaped | {"label": label} for shaped in self.shape_exchange(row)]
        prompt, completion = split_answer(self.opened(row, self.turns(row, "messages")))
        return [{"prompt": prompt, "completion": completion, "label": label} | self.extras(row)]

    def shape_pair(self, row: Mapping[str, Any]) -> list[Row]:
        """Return a prompt, the better and the worse answer to it."""
        if not self.chat_template or self.is_bare_pair():
            return [self.text_pair(row)]
        prompt = self.question(row) if "prompt" in self.parts else []
        prompt, chosen, rejected = split_pair(prompt, self.answer(row, "chosen"), self.answer(row, "rejected"))
        prompt = self.opened(row, prompt)
        return [{"prompt": prompt, "chosen": chosen, "rejected": rejected} | self.extras(row)]

    def shape_scored(self, row: Mapping[str, Any]) -> list[Row]:
        """Return a pair with its margin, if it has one; two texts without a prompt stay whole."""
        margin = {"margin": read_number(self.cell(row, "margin"))} if "margin" in self.parts else {}
        if self.is_bare_pair():
            return [dict(zip(SIDES, self.pair_texts(row), strict=True)) | margin]
        return [pair | margin for pair in self.shape_pair(row)]

    def is_bare_pair(self) -> bool:
        """Tell whether there are two texts and no prompt, which no chat template can render."""
        return "prompt" not in self.parts and self.parts["chosen"].kind == "text"

    def text_pair(self, row: Mapping[str, Any]) -> Row:
        """Return a pair of texts with their prompt: the one beside them, else the words that both begin with."""
        prompt = self.prompt_text(row) if "prompt" in self.parts else None
        chosen, rejected = self.pair_texts(row)
        if self.parts["chosen"].kind == "transcript":
            opening = transcript_opening(chosen, rejected)
            rests = (chosen[len(opening) :], rejected[len(opening) :])
            if prompt is not None and prompt.strip() not in opening:
                raise UnusableRowError("prompts_differ")
            prompt, chosen, rejected = opening, *(read_text(rest, "empty_completion") for rest in rests)
        return split_texts(prompt, chosen, rejected)

    def pair_texts(self, row: Mapping[str, Any]) -> list[str]:
        """Return the two texts of a pair."""
        return [self.text(row, side, "empty_completion") for side in SIDES]

    def shape_both(self, row: Mapping[str, Any]) -> list[Row]:
        """Return the two answers of a pair as rows of their own, one good, one bad."""
        return [
            {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
            | {name: pair[name] for name in ("tools", "chat_template_kwargs") if name in pair}
            for pair in self.shape_pair(row)
            for side in SIDES
        ]

    def shape_compared(self, row: Mapping[str, Any]) -> list[Row]:
        """Return a pair from two answers of which the row says which is the better one."""
        return self.turned(row).shape_pair(row)

    def shape_weighed(self, row: Mapping[str, Any]) -> list[Row]:
        """Return both of them, the better one good, the worse one bad."""
        return self.turned(row).shape_both(row)

    def turned(self, row: Mapping[str, Any]) -> "RowShaper":
        """Return what shapes this row's answers as the better and the worse one."""
        chosen, rejected, better = (self.parts[name] for name in (*SIDES, "better"))
        names = [part.source.column or "" for part in (chosen, rejected, better)]
        other = self.optional(row, "other")
        if first_is_better(plain_name(names[2]), self.optional(row, "better"), other, (names[0], names[1])):
            return self
        return replace(self, parts={**self.parts, "chosen": rejected, "rejected": chosen})

    def shape_question(self, row: Mapping[str, Any]) -> list[Row]:
        """Return a prompt to be answered, and every other column under its own name."""
        others = {
            name: written_value(source.get(row)) if name in self.texts else json_value(source.get(row))
            for name, source in self.others.items()
        }
        whole = "messages" in self.parts
        if not self.chat_template and not whole:
            return [{"prompt": self.prompt_text(row, "empty_prompt")} | others]
        turns = self.turns(row, "messages", trained=False) if whole else self.question(row)
        question = without_answer(self.opened(row, turns))
        if question[-1]["role"] == "user" and not question[-1]["content"].strip():
            raise UnusableRowError("empty_prompt")
        return [{"prompt": question} | others]

    def shape_stepwise(self, row: Mapping[str, Any]) -> list[Row]:
        """Return a prompt, the steps of its solution, and whether each is right."""
        steps, labels = read_steps(self.cell(row, "completions"), self.cell(row, "labels"))
        return [{"prompt": self.text(row, "prompt"), "completions": steps, "labels": labels}]

    def shape_marked(self, row: Mapping[str, Any]) -> list[Row]:
        """Return the same from a text whose steps end in marks, and its copy with a verdict for each mark."""
        prompt, steps, labels = split_marked_steps(self.text(row, "input"), self.text(row, "label"))
        return [{"prompt": prompt, "completions": steps, "labels": labels}]


def read_number(value: Any) -> float:
    """Return a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UnusableRowError("wrong_type")
    return float(value)
