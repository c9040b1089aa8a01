# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "torch==2.13.0",
#     "trl==1.16.0",
#     "transformers==5.23.0",
#     "peft==0.21.2",
#     "datasets==5.2.0",
#     "accelerate==1.15.0",
#     "trackio[gpu]==0.43.0",
# ]
# ///
"""Make a tiny random model with a tokenizer of its own, small enough to be trained on a CPU in seconds."""

import importlib.util
from pathlib import Path
from typing import Any

RUN = {
    "seed": 0,
    "hidden_size": 64,
    "layers": 2,
    "vocab_size": 512,
    "architecture": "qwen3",
    "corpus": [
        "What is the code of the item? The code is 7. The answer is 42.",
        "The user asks a question, the assistant gives an answer, the system says how.",
        "good bad yes no one two three four five six seven eight nine ten",
    ],
}

from _job.folders import job_folders
from _job.progress import JobStage, report

CONTEXT_TOKENS = 512
ATTENTION_HEADS = 4
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# Qwen2's own pattern: converters to other formats recognise a tokenizer by how it splits text.
WORD_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def chat_template() -> str:
    """Return a template that ships with TRL, so that TRL knows how to mask what the user says."""
    package = importlib.util.find_spec("trl")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("trl is not installed")
    return (Path(package.origin).parent / "chat_templates" / "qwen3_instruct_2507.jinja").read_text(encoding="utf-8")


def make_tokenizer() -> Any:
    """Return a byte-level BPE tokenizer trained on the corpus."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(WORD_PATTERN), "isolated")
    as_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([words, as_bytes])
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=RUN["vocab_size"], special_tokens=SPECIAL_TOKENS, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(["system user assistant", *RUN["corpus"]], trainer)
    end, turn_end = SPECIAL_TOKENS[0], SPECIAL_TOKENS[2]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=turn_end, pad_token=end)
    tokenizer.chat_template = chat_template()
    return tokenizer


def make_model(tokenizer: Any) -> Any:
    """Return a model with random weights that fits the tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(RUN["seed"])
    sizes = {
        "vocab_size": len(tokenizer),
        "hidden_size": RUN["hidden_size"],
        "intermediate_size": 2 * RUN["hidden_size"],
        "num_hidden_layers": RUN["layers"],
        "num_attention_heads": ATTENTION_HEADS,
        "num_key_value_heads": ATTENTION_HEADS // 2,
        "head_dim": RUN["hidden_size"] // ATTENTION_HEADS,
        "max_position_embeddings": CONTEXT_TOKENS,
        "tie_word_embeddings": True,
    }
    tokens = {"eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id, "bos_token_id": None}
    if RUN["architecture"] == "llama":
        return LlamaForCausalLM(LlamaConfig(**sizes, **tokens))
    return Qwen3ForCausalLM(Qwen3Config(**sizes, **tokens))


def main() -> None:
    """Make the tokenizer and the model, and save both."""
    report("start", method="tiny_model")
    output = job_folders().output
    with JobStage("model"):
        tokenizer = make_tokenizer()
        model = make_model(tokenizer)
        model.save_pretrained(output)
        tokenizer.save_pretrained(output)
    report("end", output=str(output), parameters=model.num_parameters(), vocab_size=len(tokenizer))


if __name__ == "__main__":
    main()
