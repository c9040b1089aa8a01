"""Samples of a model that learns by rewards: its answers, each with the reward that the run's functions give it."""

from typing import Any

from _job.rewards_code import RewardError
from _job.samples import SamplePrompt, generate_answers


def rewarded_answers(trainer: Any, samples: list[SamplePrompt]) -> list[str]:
    """Return the model's answer to each sample, behind its reward: the weighted sum that training goes by."""
    answers = generate_answers(trainer, samples)
    scores = [weighted_sum(values) for values in zip(*all_scores(trainer, samples, answers), strict=True)]
    pairs = zip(scores, answers, strict=True)
    return [f"[{'no reward' if score is None else f'reward {score:.3g}'}] {answer}" for score, answer in pairs]


def weighted_sum(values: tuple[float | None, ...]) -> float | None:
    """Add up what was given; None where nothing was."""
    given = [value for value in values if value is not None]
    return sum(given) if given else None


def all_scores(trainer: Any, samples: list[SamplePrompt], answers: list[str]) -> list[list[float | None]]:
    """Return the weighted scores of all answers by each of the trainer's rewards."""
    tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
    talks = [not isinstance(sample.prompt, str) for sample in samples]
    completions = [
        [{"role": "assistant", "content": text}] if talk else text for text, talk in zip(answers, talks, strict=True)
    ]
    names = [name for name in samples[0].row if name not in ("prompt", "completion")]
    given = {
        "prompts": [sample.prompt for sample in samples],
        "completions": completions,
        "completion_ids": [tokenizer(text, add_special_tokens=False)["input_ids"] for text in answers],
        "trainer_state": trainer.state,
        **{name: [sample.row[name] for sample in samples] for name in names},
    }
    sources = zip(trainer.reward_funcs, trainer.reward_processing_classes, trainer.reward_weights, strict=True)
    return [
        [score if score is None else float(weight) * score for score in scores_by(reward, own, given)]
        for reward, own, weight in sources
    ]


def scores_by(reward: Any, tokenizer: Any, given: dict[str, Any]) -> list[float | None]:
    """Return what one reward, a function or a model, gives to the completions; none where it fails for once."""
    if tokenizer is not None:
        return model_scores(reward, tokenizer, given)
    try:
        return reward(**given)
    except RewardError:
        return [None] * len(given["completions"])


def model_scores(model: Any, tokenizer: Any, given: dict[str, Any]) -> list[float | None]:
    """Return the scores of a reward model."""
    import torch

    pairs = zip(given["prompts"], given["completions"], strict=True)
    texts = [
        prompt + answer if isinstance(prompt, str) else tokenizer.apply_chat_template(prompt + answer, tokenize=False)
        for prompt, answer in pairs
    ]
    filled = {"return_tensors": "pt", "padding": True, "padding_side": "right", "add_special_tokens": False}
    with torch.no_grad():
        return model(**tokenizer(texts, **filled).to(model.device)).logits[:, 0].tolist()
