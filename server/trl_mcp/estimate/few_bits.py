"""Models whose weights are stored in few bits: which of them a job can train, and how they then lie in memory."""

from trl_mcp.estimate.cards import Card

_BITSANDBYTES = frozenset({"nf4", "int8"})
_FP8 = "fp8"
#: What transformers unpacks to bfloat16 as it loads it, where the package kernels is missing, as it is in a job.
_UNPACKED = frozenset({"mxfp4", _FP8})
#: Kinds of cards with fp8 of their own (compute capability 8.9 and later), where fp8 is not unpacked.
_COMPUTES_FP8 = frozenset({"l4", "ada", "hopper", "blackwell"})


def cannot_train(quantization: str, tuning: str, card: Card | None = None) -> str:
    """Return why weights that are stored so cannot be trained on a card, empty where they can.

    Source: `merge_quantization_configs`, `validate_environment` of the quantizers and
    `validate_quantization_for_training` of transformers 5.23.0, with the packages that a job has.
    """
    if not quantization or (quantization in _BITSANDBYTES and tuning == "qlora"):
        return ""
    stored = f"its weights are stored quantised ({quantization})"
    if quantization in _BITSANDBYTES:
        return f"{stored}, on which only qlora trains"
    if quantization not in _UNPACKED:
        return f"{stored}, on which a job cannot train"
    if tuning == "qlora":
        return f"{stored}, which cannot be quantised anew: take lora"
    if quantization == _FP8 and card is not None and card.kind in _COMPUTES_FP8:
        return f"{stored}, on which a job cannot train on {card.name}: a card without fp8 (A10G, A100) unpacks them"
    return ""


def in_memory(quantization: str, tuning: str) -> str:
    """Return how weights lie in memory under a tuning, as states.QUANTIZED names it; empty for 16 bits or more."""
    if tuning != "qlora":
        return ""
    return quantization if quantization in _BITSANDBYTES else "nf4-dq"
