"""Evaluation: what is held out, when it is looked at, and which checkpoint is the best by it."""

from typing import cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.method import Method, Rewards
from trl_mcp.values import Finding, Severity

_HOLD_OUT = 0.05
_WISHES = ("eval_steps", "load_best_model_at_end")


def evaluation(
    method: Method, eval_split: str | None, config: dict[str, object]
) -> tuple[str | float | None, Finding | None]:
    """Return the evaluation split, with a finding where rows are held out unasked.

    eval_steps or an eval_strategy imply a hold-out, a hold-out implies a strategy. Raises InvalidArguments where the
    method does not evaluate.
    """
    split = _share_or_name(eval_split)
    wants = "eval_steps" in config or config.get("eval_strategy", "no") != "no"
    if not method.evaluates and (split is not None or wants or config.get("load_best_model_at_end")):
        raise InvalidArguments(
            f"{method.name} has no evaluation: TRL's trainer only scores the answers that it learns from.",
            next_step=f"Leave out eval_split, eval_strategy, {' and '.join(_WISHES)}. Nothing was started.",
        )
    finding = None
    if split is None and wants:
        split = _HOLD_OUT
        finding = Finding("eval.hold_out", Severity.INFO, f"{_HOLD_OUT:.0%} of the rows are held out to evaluate on.")
    if split is not None and "eval_strategy" not in config:
        config["eval_strategy"] = "steps" if "eval_steps" in config else "epoch"
    return split, finding


def _share_or_name(text: str | None) -> str | float | None:
    try:
        share = float(text) if text is not None else None
    except ValueError:
        return text
    if share is not None and not 0 < share < 1:
        raise InvalidArguments(
            f"eval_split cannot be {text}: it is a split's name, or a share such as 0.05.",
            next_step="Nothing was started.",
        )
    return share


def best_model(method: Method, config: dict[str, object]) -> Finding | None:
    """Make load_best_model_at_end mean what it says: every evaluation has a checkpoint to choose from."""
    if not config.get("load_best_model_at_end"):
        return None
    if method.rewards is not Rewards.NONE:
        raise InvalidArguments(
            f"load_best_model_at_end cannot be used with {method.name}: its eval_loss does not tell which model is "
            "better.",
            next_step="Leave it out; job_status shows the reward. Nothing was started.",
        )
    if config.get("eval_strategy", "no") == "no":
        raise InvalidArguments(
            "load_best_model_at_end needs an evaluation.",
            next_step="Give eval_split, and eval_steps. Nothing was started.",
        )
    config.setdefault("save_strategy", config["eval_strategy"])
    if config["save_strategy"] == "steps":
        config.setdefault("save_steps", config.get("eval_steps", 500))
    _check_saved_when_evaluated(config)
    metric = config.setdefault("metric_for_best_model", "eval_loss")
    return Finding(
        "save.best", Severity.INFO, f"Checkpoints are saved at every evaluation, the best by {metric} is kept."
    )


def _check_saved_when_evaluated(config: dict[str, object]) -> None:
    if config["save_strategy"] not in (config["eval_strategy"], "best"):
        raise InvalidArguments(
            f"load_best_model_at_end saves when it evaluates: save_strategy is {config['save_strategy']}, eval_strategy "
            f"{config['eval_strategy']}.",
            next_step="Leave save_strategy out. Nothing was started.",
        )
    if config["save_strategy"] != "steps":
        return
    save = cast(float, config["save_steps"])
    every = cast(float, config.get("eval_steps") or config.get("logging_steps", 10))
    if save >= 1 and every >= 1 and save % every:
        raise InvalidArguments(
            f"load_best_model_at_end needs an evaluation at each checkpoint: save_steps {save:g} is no multiple of "
            f"{every:g}, the steps between evaluations.",
            next_step=f"Set save_steps to {every:g} or a multiple of it, or leave it out. Nothing was started.",
        )
