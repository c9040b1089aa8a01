"""Checks of the model: whether it can be trained, is far enough for the method, and may be used so."""

import re
from typing import cast

from trl_mcp.checks.check import Check, Fault, Gathered
from trl_mcp.estimate.few_bits import cannot_train
from trl_mcp.estimate.machine import card_of
from trl_mcp.estimate.setup import SCORING_METHODS, Lora, adapts_experts
from trl_mcp.recipes.gguf import later_obstacle
from trl_mcp.values import ModelReport, Severity, ToolName, call

_WEIGHTS = (".safetensors", ".bin")
# They learn to prefer among answers, and so need a model that gives answers. ORPO is made to begin with a base model.
_NEEDS_ANSWERS = frozenset({"dpo", "kto", "cpo", "grpo", "rloo", "online_dpo", "ppo"})
_TUNINGS = ("lora", "qlora", "full")
_INSTRUCTED = re.compile(
    r"(?:^|[-_.])(?:instruct|chat|it|sft|dpo|kto|orpo|rl|rlhf|thinking|assistant)(?:$|[-_.\d])", re.IGNORECASE
)
_BASE = re.compile(r"(?:^|[-_.])(?:base|pt|pretrain(?:ed)?)(?:$|[-_.])", re.IGNORECASE)
_FEW_BITS = re.compile(r"[-_.](?:[2-8]-?bit|mxfp4|nvfp4|q[2-8])(?:$|[-_.])", re.IGNORECASE)
_NO_DERIVATIVES = re.compile(r"(?:^|-)nd(?:$|-)")
# "... to improve any other large language model": LLAMA 2 and Llama 3 Community License, 1.b.v; Llama 3.1 dropped it.
_OWN_FAMILY_ONLY = frozenset({"llama2", "llama3"})


def no_weights(gathered: Gathered) -> Fault | None:
    """Find a repository without weights that can be loaded for training."""
    files, name = gathered.model.files, gathered.model.name
    if not files or any(file.endswith(_WEIGHTS) for file in files):
        return None
    what = "only GGUF files, which are for inference" if any(f.endswith(".gguf") for f in files) else "no weights"
    return Fault(
        f"{name} holds {what}: there is nothing that can be trained.",
        f"Name the model it was made from{f', {gathered.model.base_model}' if gathered.model.base_model else ''}.",
    )


def not_trainable(gathered: Gathered) -> Fault | None:
    """Find quantised weights that cannot be trained as asked, and weights that only MLX reads."""
    model, shape, flavor = gathered.model, gathered.shape, gathered.flavor
    instead = f", {model.base_model}," if model.base_model else ""
    if model.library == "mlx" and _FEW_BITS.search(model.name):
        return Fault(
            f"{model.name} is quantised for MLX, which TRL cannot load.",
            f"Name the 16-bit model it was made from{instead} instead.",
        )
    if shape is None:
        return None
    tuning = gathered.recipe.tuning
    why = cannot_train(shape.quantization, tuning, card_of(flavor) if flavor else None)
    other = next((each for each in _TUNINGS if not cannot_train(shape.quantization, each)), "")
    either = f'Use tuning="{other}", or name' if other not in ("", tuning) else "Name"
    mend = f"{either} the 16-bit model it was made from{instead} instead."
    return Fault(f"{model.name} cannot be trained with tuning {tuning}: {why}.", mend) if why else None


def only_encodes(gathered: Gathered) -> Fault | None:
    """Find a model that writes no text, under a method whose model has to."""
    shape, method = gathered.shape, gathered.recipe.method
    if shape is None or not shape.encoder or method in SCORING_METHODS:
        return None
    return Fault(
        f"{gathered.model.name} ({shape.model_type or 'an encoder'}) reads text and writes none; {method} trains models that write.",
        "Take a decoder-only model such as Qwen/Qwen3-0.6B, or method reward, which encoders can be trained with.",
    )


def dropout_on_experts(gathered: Gathered) -> Fault | None:
    """Find an adapter with dropout on the experts of a mixture of experts, which PEFT refuses."""
    shape, lora = gathered.shape, gathered.recipe.lora
    if shape is None or not lora or not lora.get("lora_dropout"):
        return None
    named = lora.get("target_modules")
    targets = (str(name).rpartition(".")[2] for name in cast(list[object], named)) if isinstance(named, list) else None
    if not adapts_experts(shape, Lora() if targets is None else Lora(targets=frozenset(targets))):
        return None
    return Fault(
        f"{gathered.model.name} is a mixture of experts, and PEFT puts no adapter with dropout on experts; lora_dropout is "
        f"{lora['lora_dropout']}.",
        'Leave lora_dropout out (0), or keep to attention: lora_target_modules=["q_proj","k_proj","v_proj","o_proj"].',
    )


def beyond_context(gathered: Gathered) -> Fault | None:
    """Find a max_length of more tokens than the model was made for, unless no row is that long."""
    shape, tokens, limit = gathered.shape, gathered.data.tokens, gathered.recipe.config.get("max_length")
    if shape is None or not shape.context or not isinstance(limit, int) or limit <= shape.context:
        return None
    if tokens is not None and tokens.longest <= shape.context:
        return None
    return Fault(
        f"max_length {limit} is more than the {shape.context} tokens that {gathered.model.name} was made for.",
        f"Use max_length={shape.context} or less, or a model with a longer context.",
    )


def never_instructed(gathered: Gathered) -> Fault | None:
    """Find preference tuning or learning from rewards on a model that was never taught to answer."""
    recipe = gathered.recipe
    if recipe.method not in _NEEDS_ANSWERS or recipe.model.id in recipe.made_by or not is_base(gathered.model):
        return None
    first = call(ToolName.SUBMIT_TRAINING, method="sft", model=recipe.model.id, dataset="<conversations>")
    return Fault(
        f"{gathered.model.name} looks like a base model that was never instruction-tuned; {recipe.method} improves "
        "answers that a model can give already.",
        f"Teach it to answer first, {first}, and give that job's id as model; or take the family's instruct model.",
    )


def is_base(model: ModelReport) -> bool:
    """Tell whether a model was never instruction-tuned, as far as its name and its chat template say."""
    name = model.name.rpartition("/")[2]
    if _INSTRUCTED.search(name):
        return False
    return model.has_chat_template is False or bool(_BASE.search(name))


def licence_forbids(gathered: Gathered) -> Fault | None:
    """Find a licence on a model's card that does not allow what is asked."""
    model, recipe = gathered.model, gathered.recipe
    if gathered.is_published and _NO_DERIVATIVES.search(model.licence):
        return Fault(
            f"The licence of {model.name}, {model.licence}, does not allow to publish what is made of it.",
            "Keep the result private (private=true), or take a model whose licence allows derivatives.",
        )
    teacher = gathered.others.get(recipe.teacher.id) if recipe.teacher else None
    if teacher is None or teacher.licence not in _OWN_FAMILY_ONLY or model.licence == teacher.licence:
        return None
    return Fault(
        f"The licence of the teacher {teacher.name}, {teacher.licence}, does not allow to improve models of other "
        "families with its answers.",
        "Take a teacher whose licence allows it, such as one of Llama 3.1 or later, Qwen3 or SmolLM3.",
    )


def not_convertible(gathered: Gathered) -> Fault | None:
    """Find a model whose fine-tune could not become a GGUF file, under a method that makes models to talk to."""
    shape = gathered.shape
    if (
        gathered.recipe.method in SCORING_METHODS
        or not gathered.config.get("architectures")
        or (shape and shape.encoder)
    ):
        return None
    obstacle = later_obstacle(gathered.model.name, gathered.config)
    if obstacle is None:
        return None
    return Fault(
        f"The result could not be converted to GGUF later: {obstacle}",
        "None needed where transformers or vLLM run it; for Ollama, llama.cpp or LM Studio train another model.",
    )


MODEL_CHECKS = (
    Check(
        code="model.exists",
        severity=Severity.ERROR,
        looks_for="a model repository without weights for transformers",
        why="The job would fail once its GPU runs.",
        fix="Name the model that the files were made from.",
        source="the Hub's list of files",
        find=no_weights,
    ),
    Check(
        code="model.trainable",
        severity=Severity.ERROR,
        looks_for="a quantised model under a tuning that cannot train it (bitsandbytes: qlora can), or one for MLX",
        why="Loading it fails, or the trainer refuses it.",
        fix="Name the 16-bit model, or the tuning that can train it.",
        source="quantizers and validate_quantization_for_training in transformers 5.23.0",
        find=not_trainable,
    ),
    Check(
        code="model.encoder",
        severity=Severity.ERROR,
        looks_for="a model that only encodes (BERT and its kin), under a method whose model has to write",
        why="Its class has no head that writes text; the trainer fails as it loads it.",
        fix="Take a decoder-only model, or method reward.",
        source="AutoModelForCausalLM in transformers 5.23.0",
        find=only_encodes,
    ),
    Check(
        code="lora.experts",
        severity=Severity.ERROR,
        looks_for="an adapter with dropout on the experts of a mixture of experts",
        why="PEFT refuses it once the model is loaded.",
        fix="Leave lora_dropout out, or name the modules of attention alone.",
        source="ParamWrapper of peft 0.21.2",
        find=dropout_on_experts,
    ),
    Check(
        code="model.context",
        severity=Severity.WARNING,
        looks_for="a max_length beyond the model's context, with rows that are that long or were not counted",
        why="It has never learned positions so far out; a model that has a fixed number of them fails.",
        fix="Lower max_length, or take a model with a longer context.",
        source="max_position_embeddings of the model's config.json",
        find=beyond_context,
    ),
    Check(
        code="model.base",
        severity=Severity.WARNING,
        looks_for="preference tuning or learning from rewards on a model that was never instruction-tuned",
        why="It has no answers yet that could be preferred or rewarded.",
        fix="Run sft first and give its job id as model.",
        source="the order of SFT, then preferences, of TRL's documentation",
        find=never_instructed,
    ),
    Check(
        code="model.licence",
        severity=Severity.ERROR,
        looks_for="a licence that forbids publishing derivatives, or teaching models of other families",
        why="The result could not be used lawfully.",
        fix="Keep the result private, or take another model or teacher.",
        source="CC BY-ND 4.0 section 2.a.1; Llama 2 and Llama 3 Community License 1.b.v",
        find=licence_forbids,
    ),
    Check(
        code="gguf.later",
        severity=Severity.WARNING,
        looks_for="a model whose fine-tune convert_gguf could not convert",
        why="Ollama, llama.cpp and LM Studio could not run the result.",
        fix="Take another model where the result is meant for them.",
        source="the converter of llama.cpp 0.5.0",
        find=not_convertible,
    ),
)
