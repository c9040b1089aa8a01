"""What tokens and the chat template show to be wrong with a run, each with the mend."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from trl_mcp.data.sample import SampledRow
from trl_mcp.data.token_losses import Losses
from trl_mcp.data.token_weighing import MeasuredRow, Weighed, is_untrained
from trl_mcp.values import DataProblem, Severity

# What is trained on is written by the model itself: nothing in the rows is cut or trained on.
_PROMPT_ONLY = frozenset({"grpo", "rloo", "distillation", "ppo", "online_dpo"})
# Their configs have chat_template_path and eos_token.
_SETS_TEMPLATE = frozenset({"sft", "reward", "gkd"})
_NEVER_WRITES = frozenset({"reward", "prm"})
_READ_PER_TURN = ("messages", "prompt", "chosen")
# The instruct model of a family, by how the names of its base models end.
_INSTRUCT = (
    (r"(.*Qwen3(?:\.\d+)?-.*)-Base", r"\1"),
    (r"(.*Qwen(?:1\.5|2|2\.5)-[\d.]+B)", r"\1-Instruct"),
    (r"(.*Llama-3[\w.-]*-\d+B)", r"\1-Instruct"),
    (r"(.*gemma-3[\w.-]*)-pt", r"\1-it"),
    (r"(.*gemma-(?:2|1\.1)?-?\d+b)", r"\1-it"),
    (r"(.*SmolLM3-\w+)-Base", r"\1"),
    (r"(.*SmolLM2?-[\d.]+[MB])", r"\1-Instruct"),
    (r"(.*Mistral-\w+)-(v[\d.]+)", r"\1-Instruct-\2"),
    (r"(.*granite-[\w.-]+)-base", r"\1-instruct"),
    (r"(.*OLMo-2-[\w-]+)", r"\1-Instruct"),
    (r"(.*)[-_](?:Base|base|pt)", r"\1"),
)
_REFUSAL_MENDS = {
    "loss.assistant_only": "Leave assistant_only_loss out; of prompt and completion only the completion is trained on.",
    "tmpl.unknown_eos": "Name a token that the tokenizer knows, or leave eos_token out.",
    "tmpl.path": "Name an instruct model of the same family, or leave chat_template_path out.",
}
_ENDS = {
    "qwen": "<|im_end|>",
    "smollm": "<|im_end|>",
    "llama": "<|eot_id|>",
    "gemma": "<end_of_turn>",
    "granite": "<|end_of_text|>",
}


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What is known of the tokenizer, the chat template and the config before any row is measured."""

    method: str
    model: str
    config: Mapping[str, object]
    is_chat: bool
    is_pair: bool
    has_template: bool
    context_length: int | None
    eos_token: str | None
    end_of_turn: str | None
    stops_at_end_of_turn: bool
    assistant_only: bool
    end_of_turn_trained: bool
    model_type: str

    @classmethod
    def of(
        cls, raw: Mapping[str, Any], method: str, model: str, config: Mapping[str, object], sample: Sequence[SampledRow]
    ) -> Self:
        """Join what the worker says of a tokenizer with what is asked."""
        row: Mapping[str, Any] = sample[0].row if sample else {}
        return cls(
            method,
            model,
            config,
            is_chat=any(isinstance(row.get(name), list) for name in _READ_PER_TURN),
            is_pair="completion" in row,
            has_template=raw["chat_template"],
            context_length=raw["context_length"],
            eos_token=raw["eos_token"],
            end_of_turn=raw["end_of_turn"],
            stops_at_end_of_turn=raw["stops_at_end_of_turn"],
            assistant_only=raw["assistant_only"],
            end_of_turn_trained=raw["end_of_turn_trained"],
            model_type=raw["model_type"],
        )

    @property
    def trains_on_rows(self) -> bool:
        """Whether the rows themselves hold what is trained on."""
        return self.method not in _PROMPT_ONLY

    @property
    def has_max_length(self) -> bool:
        """Whether max_length cuts or drops rows of the method."""
        return self.trains_on_rows


def instruct_model(model: str) -> str:
    """Return the Hub id of the model that a base model's family answers questions with; empty where it is not known."""
    for pattern, instruct in _INSTRUCT:
        found = re.fullmatch(pattern, model)
        if found:
            return found.expand(instruct)
    return ""


def template_missing(facts: TokenFacts) -> DataProblem:
    """Say that conversations cannot be rendered, and what would render them."""
    known = instruct_model(facts.model)
    end = next((token for family, token in _ENDS.items() if family in f"{facts.model_type} {facts.model}".lower()), "")
    if facts.method in _SETS_TEMPLATE:
        brings = f" (it ends turns with {end})" if end else ""
        name = known or "<the family's instruct model>"
        fix = (
            f'Give trainer_args=["chat_template_path={name}"]{brings}, or train {known or "the instruct model"} itself.'
        )
    else:
        fix = f"Take {known or 'the instruct model of the family'}, or train with sft and a chat_template_path first."
    return DataProblem(
        "tmpl.missing", Severity.ERROR, 0, (), "The rows are conversations, and the model has no chat template.", fix
    )


def refused_problem(code: str, words: str) -> DataProblem:
    """Say that the trainer's config asks for what TRL refuses, and what to ask for instead."""
    return DataProblem(code, Severity.ERROR, 0, (), f"{words}.", _REFUSAL_MENDS.get(code, ""))


def find_problems(
    facts: TokenFacts, weighed: Weighed, place: int, limits: Sequence[int | None], losses: Losses
) -> tuple[DataProblem, ...]:
    """Return what is wrong, the worst first; `place` says which of the max_lengths counts."""
    found = [*_refused(weighed), *_template_problems(facts), *_loss_problems(facts), *losses.problems()]
    if facts.method == "ppo":
        found += _no_room(facts, weighed)
    if facts.trains_on_rows:
        found += [
            *_length_problems(facts, weighed, place, limits),
            *_nothing_trained(facts, weighed, place, limits[place]),
        ]
    order = list(Severity)
    return tuple(sorted(found, key=lambda problem: order.index(problem.severity)))


def _refused(weighed: Weighed) -> Iterator[DataProblem]:
    def is_refused(row: MeasuredRow) -> bool:
        return bool(row.refused)

    count = weighed.count(is_refused)
    if count:
        words = next(row.refused for stratum in weighed.strata for row in stratum.measured if row.refused)
        yield DataProblem(
            "tmpl.refused",
            Severity.ERROR,
            count,
            weighed.first(is_refused),
            f"{_rows(count)} cannot be turned into tokens, and the run would stop there: {words[:300]}.",
            "Mend or leave out these rows (many templates want user and assistant in turn, some no system turn).",
        )


def _template_problems(facts: TokenFacts) -> Iterator[DataProblem]:
    if not facts.is_chat or facts.method in _NEVER_WRITES:
        return
    if facts.end_of_turn == "":
        yield DataProblem(
            "tmpl.no_end",
            Severity.WARNING,
            0,
            (),
            "The chat template puts no token behind an answer: the model does not learn to stop.",
            "Take a chat template that ends turns with a token of the vocabulary.",
        )
    elif facts.end_of_turn and not facts.stops_at_end_of_turn:
        how = (
            f'Give trainer_args=["eos_token={facts.end_of_turn}"].'
            if facts.method in _SETS_TEMPLATE
            else "Take the instruct model of the family, or train with sft and that eos_token first."
        )
        yield DataProblem(
            "tmpl.base_eos",
            Severity.WARNING,
            0,
            (),
            f"The chat template ends turns with {facts.end_of_turn}, but the model stops at {facts.eos_token} only: "
            "it would write on behind its answer.",
            how,
        )


def _loss_problems(facts: TokenFacts) -> Iterator[DataProblem]:
    if facts.method != "sft" or not facts.is_chat:
        return
    asked = bool(facts.config.get("assistant_only_loss"))
    if facts.config.get("completion_only_loss") and not facts.is_pair:
        mend = 'trainer_args=["assistant_only_loss=true"]' if facts.assistant_only else "prompt and completion columns"
        yield DataProblem(
            "loss.completion_only",
            Severity.ERROR,
            0,
            (),
            "completion_only_loss has no effect on whole conversations: the questions are trained on too.",
            f"Use {mend} instead.",
        )
    if asked and not facts.end_of_turn_trained:
        yield DataProblem(
            "loss.stop_token",
            Severity.WARNING,
            0,
            (),
            "With assistant_only_loss the token that ends a turn is not trained on: the model does not learn to stop.",
            "Leave assistant_only_loss out.",
        )
    if not asked and not facts.is_pair:
        able, why = (
            ("can", "") if facts.assistant_only else ("cannot", ": TRL knows no training version of this template")
        )
        yield DataProblem(
            "loss.every_turn",
            Severity.INFO,
            0,
            (),
            f"Every turn is trained on, the user's too. assistant_only_loss {able} be used{why}.",
            'trainer_args=["assistant_only_loss=true"] trains on the answers alone.'
            if facts.assistant_only
            else "Where every row is one question and its answer, "
            'columns=["prompt=messages.0", "completion=messages.1"] trains on the answers alone.',
        )


def _no_room(facts: TokenFacts, weighed: Weighed) -> Iterator[DataProblem]:
    """Say which prompts PPO's job leaves out, for no answer fits behind them."""
    count = weighed.dropped(0)
    if not count:
        return
    every = count >= weighed.count(lambda row: not row.refused)
    yield DataProblem(
        "data.nonempty" if every else "data.len",
        Severity.ERROR if every else Severity.WARNING,
        count,
        weighed.first(lambda row: bool(row.left) and row.left[0].fate > 0),
        f"{_rows(count)} ({weighed.percent(count)} %) leave no room for an answer in the "
        f"{facts.context_length or 1024} tokens that the model reads; the job leaves them out.",
        "Give a smaller response_length, or shorten the prompts.",
    )


def _length_problems(
    facts: TokenFacts, weighed: Weighed, place: int, limits: Sequence[int | None]
) -> Iterator[DataProblem]:
    limit = limits[place]
    cut, dropped = weighed.cut(place), weighed.dropped(place)
    if limit is None or not cut:
        return

    def is_cut(row: MeasuredRow) -> bool:
        return bool(row.left) and row.left[place].fate > 0

    if facts.config.get("packing"):
        yield DataProblem(
            "data.packing",
            Severity.WARNING,
            cut,
            weighed.first(is_cut),
            f"{_rows(cut)} ({weighed.percent(cut)} %) are longer than max_length={limit}; packing with bfd throws the "
            "rest of them away.",
            'Give trainer_args=["packing_strategy=bfd_split"], or a larger max_length.',
        )
        return
    what = f"{_rows(cut)} ({weighed.percent(cut)} %) do not fit max_length={limit}"
    fate = f"; TRL drops {dropped} of them whole, without a word" if dropped else ""
    covering = weighed.quantile(1.0)
    yield DataProblem(
        "data.len",
        Severity.WARNING,
        cut,
        weighed.first(is_cut),
        f"{what}: their rest is cut off{fate}." if cut > dropped else f"{what}; TRL drops them whole, without a word.",
        f"The longest row measured has {covering} tokens: {_room(facts, limit)}, or shorten the rows.",
    )


def _room(facts: TokenFacts, limit: int | None) -> str:
    """Say how there would be room for more tokens."""
    most = facts.context_length
    if most is None or limit is None:
        return "give a larger max_length"
    if limit < most:
        return f"give a larger max_length (the model reads up to {most})"
    return f"take a model that reads more than {most}"


def _nothing_trained(facts: TokenFacts, weighed: Weighed, place: int, limit: int | None) -> Iterator[DataProblem]:
    count = weighed.untrained(place)
    if not count:
        return
    every = count >= weighed.count(lambda row: not row.refused)
    yield DataProblem(
        "data.nonempty" if every else "data.untrained",
        Severity.ERROR if every else Severity.WARNING,
        count,
        weighed.first(lambda row: is_untrained(row, place)),
        f"{'In every row' if every else f'In {_rows(count)}'} no token is left that would be trained on.",
        f"{_sentence(_room(facts, limit))}, or shorten the prompts"
        + (", or leave assistant_only_loss out." if facts.config.get("assistant_only_loss") else "."),
    )


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _rows(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"
