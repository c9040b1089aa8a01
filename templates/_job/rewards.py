"""Rewards: functions of the run's own code, TRL's by their names, reward models and judges, as TRL's trainers take them.

An entry of the run's `rewards` reads {"name": ..., "kind": "code" | "trl" | "model" | "judge", "weight": number | None,
"revision": text | None}: a function in `reward_code`, a name of TRL's, a model's Hub id or folder, or
"judge:owner/name" with ":provider" or without; that of a judge may hold a `rubric`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from _job.device import TrainingDevice
from _job.rewards_code import CodeReward, RewardError, checked_scores, code_function, compile_reward_code
from _job.rewards_judge import JudgeReward, JudgeWatch
from _job.rewards_models import load_reward_model
from _job.watchers import as_callback

UNSCORED_CALLS = 20
COMPLETION_TOKENS = 512


@dataclass(frozen=True)
class Rewards:
    """What a trainer takes: functions or models, a tokenizer for each model, weights where any is given, callbacks."""

    functions: list[Any]
    tokenizers: list[Any]
    weights: list[float] | None
    callbacks: list[Any]


def load_rewards(run: dict[str, Any], device: TrainingDevice, filler: int | None = None) -> Rewards:
    """Return the run's rewards, ready for training, with the models among them loaded.

    `filler` is the token that a trainer fills answers up with before it hands them to functions; None if it does not.
    """
    watch = ScoreWatch(filler)
    functions = reward_functions(run)
    watched = iter([watch.watched(function) for function in functions])
    loaded = [
        load_reward_model(entry, device) if entry["kind"] == "model" else (next(watched), None)
        for entry in run["rewards"]
    ]
    judges = [function for function in functions if isinstance(function, JudgeReward)]
    callbacks = [as_callback(JudgeWatch(judges))] if judges else []
    rewards, tokenizers = ([pair[place] for pair in loaded] for place in (0, 1))
    return Rewards(rewards, tokenizers, reward_weights(run), callbacks)


def reward_weights(run: dict[str, Any]) -> list[float] | None:
    """Return a weight for each reward, 1 where none is given; None where none is given at all."""
    weights = [entry.get("weight") for entry in run["rewards"]]
    return None if all(weight is None for weight in weights) else [1.0 if one is None else one for one in weights]


def reward_functions(run: dict[str, Any]) -> list[Any]:
    """Return the run's rewards that are functions, in their order."""
    own = compile_reward_code(run["reward_code"]) if run["reward_code"] else {}
    makers: dict[str, Callable[[dict[str, Any]], Any]] = {
        "code": lambda entry: CodeReward(entry["name"], code_function(own, entry["name"])),
        "trl": lambda entry: LibraryReward(entry["name"], run["config"]),
        "judge": JudgeReward,
    }
    return [makers[entry["kind"]](entry) for entry in run["rewards"] if entry["kind"] != "model"]


def library_function(name: str, config: Mapping[str, Any]) -> Callable[..., Any]:
    """Return TRL's function of this name; those that depend on the answer's length follow the run's limit."""
    from trl import rewards

    limit = config.get("max_completion_length") or config.get("max_new_tokens") or COMPLETION_TOKENS
    # A fifth of the length, as in the paper that the punishment comes from (DAPO, arXiv 2503.14476).
    fields: dict[str, dict[str, int]] = {
        "get_soft_overlong_punishment": {"max_completion_len": limit, "soft_punish_cache": max(1, limit // 5)},
        "get_cosine_scaled_reward": {"max_len": limit},
        "get_repetition_penalty_reward": {},
    }
    function = getattr(rewards, name, None)
    if function is None:
        raise RewardError(f"TRL has no reward function {name}")
    return function(**fields[name]) if name in fields else function


class LibraryReward:
    """A reward function of TRL's, which reads answers as conversations only."""

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        """Make the function."""
        self.function = library_function(name, config)
        self.__name__ = getattr(self.function, "__name__", name)

    def __call__(self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        """Return a number for each completion, or None where the function gives none."""
        turns = [[{"role": "assistant", "content": one}] if isinstance(one, str) else one for one in completions]
        try:
            values = self.function(prompts=prompts, completions=turns, **columns)
        except (TypeError, ValueError, ImportError) as error:
            raise RewardError(f"TRL's reward {self.__name__} failed: {type(error).__name__}: {error}") from error
        return checked_scores(self.__name__, values, len(completions))


class ScoreWatch:
    """Ends a training in which the functions give no completion a reward any more."""

    def __init__(self, filler: int | None = None) -> None:
        """Begin without calls; answers lose the `filler` at their end, which is no part of their length."""
        self.unscored = 0
        self.filler = filler

    def watched(self, function: Any) -> Any:
        """Return a function that does the same, and whose scores are counted."""

        def score(**given: Any) -> list[float | None]:
            ids = given.pop("completion_ids", [])
            scores = function(**given, completion_ids=[without_filler(tokens, self.filler) for tokens in ids])
            self.note(scores)
            return scores

        score.__name__ = function.__name__
        return score

    def note(self, scores: Sequence[float | None]) -> None:
        """Count the calls in a row that gave no score at all."""
        self.unscored = 0 if any(score is not None for score in scores) else self.unscored + 1
        if self.unscored == UNSCORED_CALLS:
            raise RewardError(f"the reward functions gave None for every completion in {self.unscored} calls in a row")


def without_filler(tokens: Sequence[int], filler: int | None) -> list[int]:
    """Return the tokens up to the last one that is no filler."""
    end = next((place for place in range(len(tokens), 0, -1) if tokens[place - 1] != filler), 0)
    return list(tokens[:end])
