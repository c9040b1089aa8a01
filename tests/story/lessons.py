"""What each method is taught over the tools: so small that a CPU takes seconds, and measured so that it shows learning."""

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Row = dict[str, Any]
QUESTIONS = [f"What is the code of box {number}?" for number in range(10)]
KNOWN = [f"The code is {37 * (number + 1) % 100}." for number in range(10)]
OTHER = [answer.replace("The code is", "It is") for answer in KNOWN]
MOVED = [*KNOWN[3:], *KNOWN[:3]]
TINY, TAUGHT, TEACHER, JUDGE = "a random model", "a taught model", "a teacher", "a reward model"
DIGITS = """def digits(completions):
    return [sum(letter.isdigit() for letter in text) / max(1, len(text)) for text in completions]
"""


@dataclass(frozen=True)
class Lesson:
    """What a method is taught with, and the metric that tells whether it learned.

    `rates` are the learning rates of full fine-tuning and of adapters, `window` is how many values at each end of the
    run are averaged, `enough` judges the first and the last of them. `base` is what full fine-tuning starts from;
    adapters start from the taught model, since a random one leaves them nothing to turn.
    """

    rows: Callable[[], Sequence[Row]]
    metric: str
    enough: Callable[[float, float], bool]
    rates: tuple[float, float]
    steps: int
    batch: int = 8
    window: int = 1
    base: str = TAUGHT
    settings: Mapping[str, object] = field(default_factory=dict[str, object])
    arguments: Mapping[str, object] = field(default_factory=dict[str, object])

    def asked(self, tuning: str) -> dict[str, Any]:
        """Return the arguments of submit_training beside method, model and data."""
        lora = {} if tuning == "full" else {"lora_dropout": 0.0}
        settings = {"max_steps": self.steps, "logging_steps": 1, "report_to": "none", **lora, **self.settings}
        return {
            "tuning": tuning,
            "learning_rate": self.rates[tuning != "full"],
            "batch_size": self.batch,
            "trainer_args": settings,
            **self.arguments,
        }


def answered(answers: Sequence[str], copies: int = 20) -> list[Row]:
    """Return each question with its answer."""
    return [{"prompt": ask, "completion": say} for ask, say in zip(QUESTIONS, answers, strict=True)] * copies


def preferred() -> list[Row]:
    """Return pairs in which the other wording is preferred to the one that is known."""
    pairs = zip(QUESTIONS, OTHER, KNOWN, strict=True)
    return [{"prompt": ask, "chosen": good, "rejected": bad} for ask, good, bad in pairs] * 20


def judged() -> list[Row]:
    """Return answers in both wordings, each marked good or bad."""
    return [
        {"prompt": pair["prompt"], "completion": pair[side], "label": side == "chosen"}
        for pair in preferred()
        for side in ("chosen", "rejected")
    ]


def asked_only() -> list[Row]:
    """Return the questions without answers."""
    return [{"prompt": ask} for ask in QUESTIONS] * 20


def in_steps() -> list[Row]:
    """Return solutions of up to four steps, some of which say that they are bad."""
    chance = random.Random(0)

    def solution() -> Row:
        labels = [chance.random() < 0.5 for _ in range(chance.randint(1, 4))]
        steps = [f"step {place}: this is {'good' if label else 'bad'}" for place, label in enumerate(labels)]
        return {"prompt": chance.choice(QUESTIONS), "completions": steps, "labels": labels}

    return [solution() for _ in range(300)]


def of_many_digits() -> list[Row]:
    """Return pairs in which the answer with more digits is the better one."""
    chance = random.Random(0)

    def pair(ask: str) -> Row:
        few, many = sorted(chance.sample(range(9), 2))
        chosen, rejected = ("".join(chance.choice("0123456789") for _ in range(count)) for count in (many, few))
        return {"prompt": ask, "chosen": f"The code is {chosen}.", "rejected": f"The code is {rejected}."}

    return [pair(ask) for ask in QUESTIONS for _ in range(30)]


def rises_by(least: float) -> Callable[[float, float], bool]:
    """Return what tells whether a figure has risen by that much."""
    return lambda first, last: last > first + least


def falls_to(share: float) -> Callable[[float, float], bool]:
    """Return what tells whether a figure has fallen to that share of itself."""
    return lambda first, last: last < first * share


SHORT = {"max_length": 128}
TEACHING = {"beta": 0.5, "teacher_model": TEACHER}
REWARDED = {"rewards": ["digits"], "reward_code": DIGITS}
LESSONS: Mapping[str, Lesson] = {
    "sft": Lesson(
        lambda: answered(KNOWN), "loss", falls_to(0.3), (5e-3, 1e-2), 150, 16, base=TINY, settings={"warmup_steps": 10}
    ),
    "dpo": Lesson(
        preferred,
        "rewards/margins",
        rises_by(1),
        (1e-3, 5e-3),
        60,
        settings={"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 1.0]},
        arguments=SHORT,
    ),
    "orpo": Lesson(preferred, "rewards/margins", rises_by(0.1), (1e-3, 5e-3), 60, arguments=SHORT),
    "cpo": Lesson(preferred, "rewards/margins", rises_by(0.1), (1e-3, 5e-3), 60, arguments=SHORT),
    "kto": Lesson(judged, "rewards/margins", rises_by(1), (1e-3, 5e-3), 40, arguments=SHORT),
    "reward": Lesson(preferred, "loss", falls_to(0.5), (1e-3, 3e-3), 40, arguments=SHORT),
    "prm": Lesson(
        in_steps,
        "eval_accuracy",
        rises_by(0.15),
        (3e-3, 3e-3),
        40,
        settings={"eval_strategy": "steps", "eval_steps": 40, "eval_on_start": True},
        arguments=SHORT | {"eval_split": "0.1"},
    ),
    "grpo": Lesson(
        asked_only,
        "reward",
        rises_by(0.2),
        (5e-3, 5e-3),
        40,
        batch=4,
        window=5,
        settings={"num_generations": 8, "max_completion_length": 8, "per_device_train_batch_size": 32},
        arguments=REWARDED,
    ),
    "rloo": Lesson(
        asked_only,
        "reward",
        rises_by(0.1),
        (5e-3, 5e-3),
        60,
        batch=4,
        window=5,
        settings={"num_generations": 8, "max_completion_length": 8, "per_device_train_batch_size": 32},
        arguments=REWARDED,
    ),
    "online_dpo": Lesson(
        asked_only,
        "objective/scores",
        rises_by(0.2),
        (5e-3, 5e-3),
        40,
        batch=32,
        window=5,
        settings={"max_new_tokens": 8, "per_device_train_batch_size": 32},
        arguments=REWARDED | SHORT,
    ),
    "ppo": Lesson(
        asked_only,
        "objective/scores",
        rises_by(1),
        (1e-3, 5e-3),
        12,
        batch=32,
        window=3,
        settings={
            "response_length": 10,
            "temperature": 1.0,
            "kl_coef": 0.0,
            "stop_token": None,
            "missing_eos_penalty": None,
            "per_device_train_batch_size": 32,
        },
        arguments={"rewards": [JUDGE]},
    ),
    "distillation": Lesson(
        asked_only,
        "loss",
        falls_to(0.5),
        (2e-3, 5e-3),
        100,
        batch=16,
        window=5,
        settings=TEACHING | {"max_completion_length": 12},
    ),
    "gkd": Lesson(
        lambda: answered(MOVED),
        "loss",
        falls_to(0.5),
        (2e-3, 5e-3),
        100,
        batch=16,
        window=5,
        settings=TEACHING | {"max_new_tokens": 12, "lmbda": 0.5},
        arguments=SHORT,
    ),
}
# What an adapter of a model that knows the answers is taught: the same ones in other words.
ADAPTER_ROWS: Mapping[str, Callable[[], Sequence[Row]]] = {"sft": lambda: answered(OTHER)}
# The models that lessons start from or learn from, and what makes each: the method, its rows and its steps.
MAKERS: Mapping[str, tuple[str, Callable[[], Sequence[Row]], int]] = {
    TAUGHT: ("sft", lambda: answered(KNOWN), 150),
    TEACHER: ("sft", lambda: answered(MOVED), 150),
    JUDGE: ("reward", of_many_digits, 80),
}


def write_rows(path: Path, rows: Sequence[Row]) -> str:
    """Write rows as JSON Lines and return the path."""
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)
