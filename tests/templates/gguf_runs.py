"""Runs of the conversion to GGUF, and what is asked of the files that it makes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.templates.job_modules import TEMPLATES
from tests.templates.job_runs import Job, JobRuns
from tests.templates.lessons import CODES

QUESTIONS = list(CODES)
WIDTH = 256
# Asks a GGUF file questions in the words of a model folder's tokenizer.
ASK = """
    import json, os, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from _job.gguf_library import LlamaLibrary
    from _job.gguf_probe import chat_prompt
    from _job.gguf_tools import fetch_tools
    from transformers import AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[3])
    library = fetch_tools(Path(sys.argv[4])).library
    answers = {}
    with library.open_file(Path(sys.argv[2]), 512) as file:
        for question in json.loads(sys.argv[5]):
            ids, _ = file.greedy_answer(chat_prompt(tokenizer, question), 32)
            answers[question] = tokenizer.decode(ids)
    print(json.dumps(answers))
"""
# Changes a model folder: its tokenizer, its config, its weights.
MAKE_MODEL = """
    import json, sys
    from pathlib import Path
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    source, target, words = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    torch.manual_seed(1)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe = Tokenizer(models.BPE())
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), plain])
    bpe.pre_tokenizer = {"bare": plain, "digits": digits, "spaces": pre_tokenizers.Whitespace()}[words]
    bpe.decoder = decoders.ByteLevel()
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|tool|>"]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=marks, initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(["The boats came in at 12.5 knots, it's late, they'll go. " * 3, "user assistant"], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = AutoTokenizer.from_pretrained(source).chat_template
    config = LlamaConfig(vocab_size=len(tokenizer) + 12, hidden_size=256, intermediate_size=512, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=False, max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(target)
    tokenizer.save_pretrained(target)
    print("{}")
"""
# Makes an adapter that has brought tokens of its own, or one that changes nothing.
MAKE_ADAPTER = """
    import sys
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer
    source, target, kind = sys.argv[1:4]
    torch.manual_seed(2)
    model = AutoModelForCausalLM.from_pretrained(source)
    tokenizer = AutoTokenizer.from_pretrained(source)
    saved = None
    if kind == "grown":
        tokenizer.add_tokens(["<|think|>", "<|act|>"], special_tokens=True)
        model.resize_token_embeddings(len(tokenizer))
        saved = ["embed_tokens", "lm_head"]
    config = LoraConfig(r=8, target_modules="all-linear", task_type="CAUSAL_LM", modules_to_save=saved,
        exclude_modules=["lm_head"] if saved else None, init_lora_weights=kind == "idle")
    adapted = get_peft_model(model, config)
    adapted.save_pretrained(target)
    tokenizer.save_pretrained(target)
    print("{}")
"""


class GgufRuns:
    """Starts conversions, and asks the files that come of them."""

    def __init__(self, runs: JobRuns) -> None:
        """Keep what runs jobs in an environment that can convert."""
        self.runs = runs

    def start(self, model: Path | str, *quantizations: str, **changes: Any) -> Job:
        """Start a conversion of a model; `run_folder`, `edit` and `variables` are as for any job."""
        places = {name: changes.pop(name) for name in ("run_folder", "edit", "variables") if name in changes}
        recipe = {"model": str(model), "name": "codes", "questions": QUESTIONS, "quantizations": list(quantizations)}
        return self.runs.start("convert_gguf", recipe | changes, **places)

    def convert(self, model: Path, *quantizations: str, **changes: Any) -> Job:
        """Convert a model and return the job, which has succeeded."""
        job = self.start(model, *quantizations, **changes)
        assert job.finish() == 0, job.errors()[-3000:]
        return job

    def refusal(self, model: Path | str, **changes: Any) -> str:
        """Return why a conversion ends in an error."""
        job = self.start(model, *changes.pop("quantizations", ["Q8_0"]), **changes)
        assert job.finish() == 1
        assert job.of_kind("end") == []
        return job.of_kind("error")[-1]["message"]

    def ask(self, file: Path, model: Path, folder: Path, questions: list[str] = QUESTIONS) -> dict[str, str]:
        """Return what a GGUF file answers to questions."""
        return self.runs.program(
            ASK, folder, str(TEMPLATES), str(file), str(model), str(folder / "tools"), json.dumps(questions)
        )

    def make(self, program: str, source: Path, target: Path, kind: str) -> Path:
        """Run one of the programs that make a model, and return where it lies."""
        self.runs.program(program, target.parent, str(source), str(target), kind)
        return target


def spoiled(code: str) -> Callable[[Path], None]:
    """Return a change to a copy of the templates: each file is spoiled before it is verified, as `path`."""

    def edit(templates: Path) -> None:
        script = templates / "convert_gguf.py"
        text = script.read_text(encoding="utf-8")
        checked = "    verdict = verify_file("
        assert checked in text
        script.write_text(text.replace(checked, f"    {code}\n{checked}"), encoding="utf-8")

    return edit
