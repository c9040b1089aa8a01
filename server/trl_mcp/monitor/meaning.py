"""What a job's numbers, samples and result mean, in plain sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from trl_mcp.recipes.references import ModelReference

_CHANCE_LOSS = 0.6931
_NEAR_CHANCE = 0.005
_FOLDER_OF_MERGED = "merged"


def meaning_of(metrics: Mapping[str, float | str]) -> str | None:
    """Return what the newest metrics of a method that learns from preferences say; None for other methods.

    Metrics of an evaluation are taken before those of training.
    """
    numbers = {name: value for name, value in metrics.items() if isinstance(value, (int, float))}
    for prefix, of in (("eval_", "held-out "), ("", "")):
        named = {name.removeprefix(prefix): value for name, value in numbers.items() if name.startswith(prefix)}
        said = _preference(named, of) or _scores(named, of) or _verdicts(named, of)
        if said:
            return said + _learned_nothing(named)
    return None


def _preference(metrics: Mapping[str, float], of: str) -> str | None:
    share = metrics.get("rewards/accuracies")
    if share is None:
        return None
    return f"prefers the chosen answer in {_percent(share)} of {of}pairs (chance is 50 %){_margin(metrics, 'rewards/')}"


def _scores(metrics: Mapping[str, float], of: str) -> str | None:
    share = metrics.get("accuracy")
    if share is None or "margin" not in metrics:
        return None
    return f"scores the chosen answer higher in {_percent(share)} of {of}pairs (chance is 50 %){_margin(metrics, '')}"


def _verdicts(metrics: Mapping[str, float], of: str) -> str | None:
    margin = metrics.get("rewards/margins")
    if margin is None:
        return None
    than = "more likely" if margin >= 0 else "less likely"
    return (
        f"finds good {of}answers {than} than bad ones, compared with before training: by {abs(margin):.2g} (0 at first)"
    )


def _margin(metrics: Mapping[str, float], prefix: str) -> str:
    margin = metrics.get(f"{prefix}margins", metrics.get(f"{prefix}margin"))
    return "" if margin is None else f"; margin {margin:.2g}"


def _learned_nothing(metrics: Mapping[str, float]) -> str:
    loss = metrics.get("loss")
    is_chance = loss is not None and abs(loss - _CHANCE_LOSS) < _NEAR_CHANCE
    return "; a loss near 0.693 says that it has learned nothing yet" if is_chance else ""


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def silent_samples(samples: Sequence[Mapping[str, Any]]) -> str | None:
    """Return a warning where the model answered sample prompts with nothing, before training and after; else None."""
    answers = [(sample.get("before"), sample.get("after")) for sample in samples]
    silent = [pair for pair in answers if all(isinstance(text, str) and not text.strip() for text in pair)]
    if not silent:
        return None
    return (
        f"{len(silent)} of {len(answers)} sample prompts got an empty answer, before training and after it: the model "
        "ends at once, so the samples show nothing of what it learned. Look at the chat template and the end token."
    )


def kind_of_result(run: Mapping[str, object]) -> str | None:
    """Return what a training's recipe leaves behind: an adapter, or a whole model; None where it does not say."""
    tuning, model = run.get("tuning"), str(run.get("model", ""))
    if tuning == "full":
        return "the result is a whole model"
    if tuning not in ("lora", "qlora"):
        return None
    merged = f"; the whole model is in {_FOLDER_OF_MERGED}/" if run.get("merge") else ", which it needs"
    base = ModelReference(model, is_folder=model.startswith("/"))
    return f"the result is an adapter of {base.short_name}{merged}"
