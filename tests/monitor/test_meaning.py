"""What the numbers of a job mean, in a sentence."""

import pytest

from trl_mcp.monitor.meaning import kind_of_result, meaning_of, silent_samples


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        (
            {"loss": 0.6889, "rewards/accuracies": 0.46, "rewards/margins": 0.0123},
            (
                "prefers the chosen answer in 46 % of pairs (chance is 50 %); margin 0.012;"
                " a loss near 0.693 says that it has learned nothing yet"
            ),
        ),
        (
            {"loss": 0.1, "rewards/accuracies": 1.0, "rewards/margins": 2.5},
            "prefers the chosen answer in 100 % of pairs (chance is 50 %); margin 2.5",
        ),
        (
            {"rewards/accuracies": 1.0, "eval_loss": 0.6931, "eval_rewards/accuracies": 0.5},
            (
                "prefers the chosen answer in 50 % of held-out pairs (chance is 50 %);"
                " a loss near 0.693 says that it has learned nothing yet"
            ),
        ),
        (
            {"accuracy": 0.75, "margin": 0.4, "loss": 0.5},
            "scores the chosen answer higher in 75 % of pairs (chance is 50 %); margin 0.4",
        ),
        (
            {"rewards/chosen": 0.1, "rewards/rejected": -0.2, "rewards/margins": 0.3, "kl": 0.0},
            "finds good answers more likely than bad ones, compared with before training: by 0.3 (0 at first)",
        ),
        (
            {"rewards/margins": -0.3},
            "finds good answers less likely than bad ones, compared with before training: by 0.3 (0 at first)",
        ),
        ({"rewards/accuracies": "nan"}, None),
        ({"loss": 0.693, "mean_token_accuracy": 0.4}, None),
        ({"eval_accuracy": 0.9, "loss": 1.0}, None),
        ({}, None),
    ],
)
def test_metrics_of_preferences_are_said_in_words(metrics: dict[str, float | str], said: str | None) -> None:
    assert meaning_of(metrics) == said


def test_a_model_that_says_nothing_before_and_after_is_warned_of() -> None:
    silent, heard = {"prompt": "a", "before": "", "after": " \n"}, {"prompt": "b", "before": "", "after": "yes"}
    warning = silent_samples([silent, heard])
    assert warning is not None
    assert warning.startswith("1 of 2 sample prompts got an empty answer, before training and after it")
    assert silent_samples([heard, {"prompt": "c", "before": None, "after": None}]) is None
    assert silent_samples([]) is None


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"tuning": "full", "model": "a/b", "merge": True}, "the result is a whole model"),
        ({"tuning": "lora", "model": "a/b", "merge": False}, "the result is an adapter of b, which it needs"),
        ({"tuning": "lora", "model": "/jobs/sft-1/output"}, "the result is an adapter of sft-1, which it needs"),
        (
            {"tuning": "qlora", "model": "/x/b", "merge": True},
            "the result is an adapter of b; the whole model is in merged/",
        ),
        ({"question": 1}, None),
    ],
)
def test_a_result_is_an_adapter_or_a_whole_model(run: dict[str, object], said: str | None) -> None:
    assert kind_of_result(run) == said
