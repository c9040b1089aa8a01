"""Rewards: what each entry of the argument means, what it weighs, and which columns of the data it reads."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.judges import check_rubric_is_read, is_judge, judge_named, rubric_columns
from trl_mcp.recipes.method import Method, Rewards
from trl_mcp.recipes.methods import METHODS
from trl_mcp.recipes.references import ModelReference, model_reference
from trl_mcp.recipes.reward_code import RewardFunction, reward_functions
from trl_mcp.schema import did_you_mean, shorten
from trl_mcp.values import Finding, Severity

_NOTHING_STARTED = "Nothing was started."
# TRL's reward functions by name, with the columns of the data that each reads.
LIBRARY_REWARDS: Mapping[str, tuple[str, ...]] = {
    "accuracy_reward": ("solution",),
    "reasoning_accuracy_reward": ("solution",),
    "think_format_reward": (),
    "get_soft_overlong_punishment": (),
    "get_cosine_scaled_reward": ("solution",),
    "get_repetition_penalty_reward": (),
}
# Those that compare with the solution: they need math-verify, and read \boxed{} only.
ACCURACY_REWARDS = frozenset({"accuracy_reward", "reasoning_accuracy_reward", "get_cosine_scaled_reward"})
_BOXED_PROMPT = r"Reason step by step, and put your final answer within \boxed{}."


@dataclass(frozen=True, slots=True)
class Reward:
    """One reward: a function of reward_code, one of TRL's, a reward model's Hub id or folder, or a judge.

    The name of a judge is "judge:owner/name", with ":provider" where one is named; `rubric` is what it goes by, None
    for the usual one.
    """

    name: str
    kind: Literal["code", "trl", "model", "judge"]
    weight: float | None = None
    revision: str | None = None
    rubric: str | None = None

    def as_run(self) -> dict[str, object]:
        """Return the entry as the RUN literal of a script has it."""
        entry = asdict(self)
        if self.rubric is None:
            del entry["rubric"]
        return entry

    def __str__(self) -> str:
        return self.name if self.weight is None else f"{self.name}:{self.weight:g}"


@dataclass(frozen=True, slots=True)
class RewardWishes:
    """The rewards of a training, with the columns that they read and what is to be said about them."""

    rewards: tuple[Reward, ...] = ()
    columns: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


def read_rewards(
    method: Method, given: Sequence[str], code: str | None, system_prompt: str | None, rubric: str | None = None
) -> RewardWishes:
    """Return what the arguments rewards and reward_code mean for a method; `rubric` is what judges among them go by.

    Raises InvalidArguments for rewards where the method takes none, too few or too many, for code or a rubric that
    cannot be used, and for a name that means nothing.
    """
    check_rubric_is_read(rubric, given)
    if method.rewards is Rewards.NONE:
        _refuse_rewards(method, given, code)
        return RewardWishes()
    if code is not None and method.rewards is Rewards.ONE_MODEL:
        raise InvalidArguments(
            f"reward_code cannot be used with {method.name}, which learns from one reward model.",
            next_step=f"Give rewards=[<reward model>], or use grpo or rloo. {_NOTHING_STARTED}",
        )
    functions = reward_functions(code) if code is not None else dict[str, RewardFunction]()
    rewards = tuple(_reward(entry, functions, rubric) for entry in given) or _only_function(functions)
    _check_rewards(method, rewards, functions)
    columns = [column for reward in rewards for column in _columns(reward, functions)]
    return RewardWishes(rewards, tuple(dict.fromkeys(columns)), _boxed(rewards, system_prompt))


def _refuse_rewards(method: Method, given: Sequence[str], code: str | None) -> None:
    if not given and code is None:
        return
    taking = ", ".join(each.name for each in METHODS.values() if each.rewards is not Rewards.NONE)
    argument = "rewards" if given else "reward_code"
    raise InvalidArguments(
        f"{argument} is no argument of {method.name}: {taking} have it.", next_step=f"Leave it out. {_NOTHING_STARTED}"
    )


def _reward(entry: str, functions: Mapping[str, RewardFunction], rubric: str | None) -> Reward:
    text, weight = _weight(entry.strip())
    if is_judge(text):
        return Reward(str(judge_named(text)), "judge", weight, rubric=rubric)
    if text in functions:
        return Reward(text, "code", weight)
    if text in LIBRARY_REWARDS:
        return Reward(text, "trl", weight)
    if not _is_model(text):
        raise InvalidArguments(
            f'No reward is called "{shorten(text)}".{did_you_mean(text, [*functions, *LIBRARY_REWARDS])}',
            allowed=f"In reward_code: {', '.join(functions) or 'none'}. TRL's: {', '.join(LIBRARY_REWARDS)}. A reward "
            "model: owner/name, or the absolute path of its folder. A language model as judge: judge:owner/name.",
            next_step=_NOTHING_STARTED,
        )
    model = model_reference(text)
    return Reward(model.id, "model", weight, model.revision)


def _weight(entry: str) -> tuple[str, float | None]:
    """Split "name:0.2" at its weight; a colon with anything else behind it belongs to the name."""
    name, colon, last = entry.rpartition(":")
    try:
        weight = float(last) if colon else math.nan
    except ValueError:
        return entry, None
    if not colon:
        return entry, None
    if not math.isfinite(weight):
        raise InvalidArguments(f'The weight of "{shorten(entry)}" is no finite number.', next_step=_NOTHING_STARTED)
    return name, weight


def _is_model(text: str) -> bool:
    return text.startswith(("/", "~", "file:")) or "/" in text.partition("@")[0]


def _only_function(functions: Mapping[str, RewardFunction]) -> tuple[Reward, ...]:
    """Return the one public function of the code; it goes without saying that it is the reward."""
    public = [name for name in functions if not name.startswith("_")]
    if len(public) > 1:
        raise InvalidArguments(
            f"reward_code defines {len(public)} functions and rewards names none.",
            next_step=f"Name those that are rewards, of: {', '.join(public)}. {_NOTHING_STARTED}",
        )
    return tuple(Reward(name, "code") for name in public)


def _check_rewards(method: Method, rewards: Sequence[Reward], functions: Mapping[str, RewardFunction]) -> None:
    names = [reward.name for reward in rewards]
    if repeated := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise InvalidArguments(f"rewards names {', '.join(repeated)} more than once.", next_step=_NOTHING_STARTED)
    if not rewards:
        how = "a reward model" if method.rewards is Rewards.ONE_MODEL else "names, a model, a judge or reward_code"
        raise InvalidArguments(
            f"{method.name} needs rewards to learn from.", next_step=f"Give rewards: {how}. {_NOTHING_STARTED}"
        )
    if method.rewards is Rewards.ONE_MODEL:
        _check_one_model(method, rewards)
    if functions and not any(reward.kind == "code" for reward in rewards):
        raise InvalidArguments(
            "reward_code is given, and rewards names none of its functions.",
            next_step=f"Add one of {', '.join(functions)} to rewards, or leave reward_code out. {_NOTHING_STARTED}",
        )


def _check_one_model(method: Method, rewards: Sequence[Reward]) -> None:
    if len(rewards) > 1 or rewards[0].kind != "model":
        raise InvalidArguments(
            f"{method.name} learns from exactly one reward model, not from {', '.join(map(str, rewards))}.",
            next_step=f"Name one reward model, or use grpo or rloo, which take any rewards. {_NOTHING_STARTED}",
        )
    if rewards[0].weight is not None:
        raise InvalidArguments(
            f"{method.name} has one reward, which cannot be weighed.",
            next_step=f"Leave the weight out; kl_coef in trainer_args sets how much it may pull. {_NOTHING_STARTED}",
        )


def _columns(reward: Reward, functions: Mapping[str, RewardFunction]) -> tuple[str, ...]:
    if reward.kind == "judge":
        return rubric_columns(reward.rubric)
    if reward.kind == "code":
        return functions[reward.name].columns
    return LIBRARY_REWARDS[reward.name] if reward.kind == "trl" else ()


def _boxed(rewards: Sequence[Reward], system_prompt: str | None) -> tuple[Finding, ...]:
    """Say what an accuracy reward can read where the model is not told how to write its answer."""
    reading = [reward.name for reward in rewards if reward.kind == "trl" and reward.name in ACCURACY_REWARDS]
    if not reading or "boxed" in (system_prompt or ""):
        return ()
    message = rf"{', '.join(reading)} reads answers that are written as \boxed{{...}}, and gives 0 to all others."
    return (Finding("reward.boxed", Severity.WARNING, message, f'Set system_prompt to "{_BOXED_PROMPT}"'),)


def reward_models(rewards: Sequence[Reward]) -> tuple[ModelReference, ...]:
    """Return the reward models among the rewards."""
    names = [reward for reward in rewards if reward.kind == "model"]
    return tuple(ModelReference(each.name, each.revision, is_folder=each.name.startswith("/")) for each in names)
