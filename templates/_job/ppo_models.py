"""What PPO trains with: prompts as tokens, the policy, its reference, a reward model, a value model made of that."""

import copy
import json
from dataclasses import dataclass
from typing import Any

from _job.device import TrainingDevice
from _job.frozen_models import load_frozen
from _job.models import find_adapter, loading_arguments, trainable_model
from _job.rewards_models import load_reward_model

UNKNOWN_CONTEXT_TOKENS = 1024


@dataclass(frozen=True)
class PPOParts:
    """The model that is trained, the one it stays close to, what scores its answers and what foresees the score."""

    policy: Any
    reference: Any
    reward: Any
    value: Any
    prompts: Any


def load_parts(
    run: dict[str, Any], device: TrainingDevice, tokenizer: Any, rows: Any, response_length: int
) -> PPOParts:
    """Return all that PPO trains with; the rows become prompts that leave room for an answer."""
    policy = load_policy(run, device)
    prompts = prompt_dataset(rows, tokenizer, prompt_limit(policy.config, response_length))
    set_padding_token(tokenizer, policy, prompts)
    reward, value = load_score_models(run, tokenizer, device)
    return PPOParts(policy, load_reference(run, device), reward, value, prompts)


def load_policy(run: dict[str, Any], device: TrainingDevice) -> Any:
    """Return the model that is trained: a whole one, or an adapter on its base."""
    from transformers import AutoModelForCausalLM

    policy = trainable_model(run, device)
    if not isinstance(policy, str):
        return policy
    return AutoModelForCausalLM.from_pretrained(policy, **loading_arguments(run, device))


def even_types(policy: Any, run: dict[str, Any], device: TrainingDevice) -> None:
    """Give all that is frozen and not in 4 bits the type it was loaded in.

    TRL makes norms float32 and the layers at both ends bfloat16, and generates without the autocast to bridge the two.
    """
    import torch

    dtype = getattr(torch, loading_arguments(run, device)["dtype"])
    for weight in policy.parameters():
        if weight.is_floating_point() and not weight.requires_grad:
            weight.data = weight.data.to(dtype)


def load_reference(run: dict[str, Any], device: TrainingDevice) -> Any:
    """Return a model to stay close to; None where the trainer makes it: a copy, or the policy without its adapter.

    It cannot where the policy is an adapter from the start, nor with an adapter in several processes.
    """
    if find_adapter(run) is None and (run["tuning"] == "full" or device.processes == 1):
        return None
    from transformers import AutoModelForCausalLM

    loading = loading_arguments(run, device)
    revision = loading.pop("revision", None)
    return load_frozen(AutoModelForCausalLM, run["model"], revision, **loading)


def load_score_models(run: dict[str, Any], tokenizer: Any, device: TrainingDevice) -> tuple[Any, Any]:
    """Return the run's reward model, and the value model that starts as a copy of it."""
    import torch

    reward, own_tokenizer = load_reward_model(run["rewards"][0], device)
    check_same_tokens(run, tokenizer, own_tokenizer)
    # Weights that are trained need more than float16 can hold.
    dtype = torch.bfloat16 if device.half_precision == "bfloat16" else torch.float32
    return reward.requires_grad_(False), copy.deepcopy(reward).requires_grad_(True).to(dtype)


def check_same_tokens(run: dict[str, Any], tokenizer: Any, other: Any) -> None:
    """Refuse a reward model of another vocabulary: PPO hands it the policy's tokens as they are."""
    if tokenizer.get_vocab() != other.get_vocab():
        raise SystemExit(
            f"the reward model {run['rewards'][0]['name']} has another tokenizer than {run['model']}: "
            "ppo needs a reward model that was trained from the same family; grpo and rloo take any"
        )


def prompt_dataset(rows: Any, tokenizer: Any, limit: int) -> Any:
    """Return prompts as tokens, the opening of the answer included; those longer than the limit are left out."""

    def tokenize(row: dict[str, Any]) -> dict[str, Any]:
        return {"input_ids": prompt_ids(tokenizer, row)}

    tokens = rows.map(tokenize, remove_columns=rows.column_names)
    return tokens.filter(lambda row: 0 < len(row["input_ids"]) <= limit)


def prompt_ids(tokenizer: Any, row: dict[str, Any]) -> list[int]:
    """Return the tokens of one prompt, a text or turns."""
    if isinstance(row["prompt"], str):
        return tokenizer(row["prompt"])["input_ids"]
    tools = row.get("tools")
    read = json.loads(tools) if isinstance(tools, str) else tools
    arguments = {"tools": read, **(row.get("chat_template_kwargs") or {})}
    text = tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True, **arguments)
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def prompt_limit(config: Any, response_length: int) -> int:
    """Return how many tokens a prompt may have, so that the answer fits into the model's context behind it."""
    context = getattr(config.get_text_config(), "max_position_embeddings", None) or UNKNOWN_CONTEXT_TOKENS
    return max(1, context - response_length)


def set_padding_token(tokenizer: Any, policy: Any, prompts: Any) -> None:
    """Choose a token to fill up with that means nothing else: PPO ignores that token wherever it stands."""
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        tokenizer.pad_token = unused_token(tokenizer, policy, prompts)
    policy.generation_config.pad_token_id = tokenizer.pad_token_id


def unused_token(tokenizer: Any, policy: Any, prompts: Any) -> str:
    """Return a special token that no prompt holds and that does not end an answer."""
    used = {tokenizer.eos_token_id, tokenizer.bos_token_id}.union(*prompts["input_ids"])
    known = policy.get_input_embeddings().num_embeddings
    for number, token in sorted(tokenizer.added_tokens_decoder.items()):
        if token.special and number < known and number not in used:
            return token.content
    raise SystemExit("the tokenizer has no special token left to fill up with: ppo needs one beside the end of text")
