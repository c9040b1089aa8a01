"""Time and memory of a conversion to GGUF: `python -m tests.benchmarks.gguf`; `--adapter` merges one first.

The model is random and has the shape of Qwen3-0.6B; it takes 5 GB of disk. Resident memory counts mapped files, which
the system takes back when it needs the room; unique memory does not.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from textwrap import dedent
from typing import IO

import psutil

from tests.templates.job_modules import TEMPLATES
from tests.templates.job_runs import TAG, Job, write_recipe
from trl_mcp import environments
from trl_mcp.estimate.conversion import ConversionSize
from trl_mcp.render.templates import template_source

TYPES = ("Q4_K_M", "Q8_0")
PARAMETERS = 596_049_920
INTERVAL_S = 0.2
# The tokenizer has fewer words than the model has embeddings, as in many models.
MAKE = """
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    import tiny_model, torch
    from peft import LoraConfig, get_peft_model
    from transformers import Qwen3Config, Qwen3ForCausalLM
    target, adapter = Path(sys.argv[2]), Path(sys.argv[3])
    tiny_model.chat_template = lambda: (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\\n{{ m['content'] }}<|im_end|>\\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\\n{% endif %}"
    )
    tokenizer = tiny_model.make_tokenizer()
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    config = Qwen3Config(vocab_size=151936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28,
        num_attention_heads=16, num_key_value_heads=8, head_dim=128, max_position_embeddings=40960,
        tie_word_embeddings=True, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None)
    model = Qwen3ForCausalLM(config)
    assert model.num_parameters() == int(sys.argv[4])
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    model.config._name_or_path = str(target)
    adapted = get_peft_model(model, LoraConfig(r=16, target_modules="all-linear", init_lora_weights=False))
    adapted.peft_config["default"].base_model_name_or_path = str(target)
    adapted.save_pretrained(adapter)
    tokenizer.save_pretrained(adapter)
    print("{}")
"""


@dataclass
class Peak:
    """The most memory of a process and its children at one moment, in bytes."""

    resident: int = 0
    unique: int = 0


def watch(process: psutil.Process, peak: Peak) -> None:
    """Keep the peak of a process until it ends."""
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        resident = unique = 0
        try:
            for each in (process, *process.children(recursive=True)):
                found = each.memory_full_info()
                resident, unique = resident + found.rss, unique + found.uss
        except psutil.Error:
            continue
        peak.resident, peak.unique = max(peak.resident, resident), max(peak.unique, unique)
        time.sleep(INTERVAL_S)


def start(python: str, folder: Path, model: Path) -> Job:
    """Start the conversion of a model."""
    templates = folder / "templates"
    shutil.copytree(TEMPLATES, templates, ignore=shutil.ignore_patterns("__pycache__"))
    recipe = {"model": str(model), "name": "random", "quantizations": list(TYPES), "questions": ["Which item is it?"]}
    write_recipe(templates / "convert_gguf.py", recipe)
    places = {name: str(folder / name) for name in ("output", "run_folder")}
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    own = {f"TRL_MCP_{name.upper()}": place for name, place in places.items()} | {"TRL_MCP_RUN_TAG": TAG}
    environment = kept | own | {"HF_HUB_OFFLINE": "1"}
    return Job(partial(_process, python), templates / "convert_gguf.py", folder, environment)


def _process(
    python: str, arguments: list[str], folder: Path, environment: dict[str, str], errors: IO[bytes]
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [python, *arguments], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
    )


def measure(job: Job) -> tuple[Peak, float]:
    """Return the peak of a conversion and its seconds. Raises SystemExit where it fails."""
    peak, began = Peak(), time.perf_counter()
    watcher = threading.Thread(target=watch, args=(psutil.Process(job.process.pid), peak))
    watcher.start()
    code = job.finish()
    watcher.join()
    if code:
        raise SystemExit(f"{job.of_kind('error')}\n{job.errors()[-3000:]}")
    return peak, time.perf_counter() - began


def main() -> None:
    """Make the model, convert it and print what that took beside what is planned for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapter", action="store_true", help="convert an adapter on the model")
    is_adapter = parser.parse_args().adapter
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = str(environments.prepare(template_source("convert_gguf"), folder / "home", os.environ))
        base, adapter = folder / "base", folder / "adapter"
        arguments = [str(TEMPLATES), str(base), str(adapter), str(PARAMETERS)]
        subprocess.run([python, "-c", dedent(MAKE), *arguments], check=True, stdout=subprocess.DEVNULL)
        before = os.getloadavg()[0]
        job = start(python, folder, adapter if is_adapter else base)
        peak, took = measure(job)
    size = ConversionSize(PARAMETERS, 4, TYPES, is_adapter)
    print(f"load before {before:.1f}, {os.cpu_count()} cores; {'an adapter' if is_adapter else 'a whole model'}")
    print(f"{took:.0f} s in all; timeout planned for 2 cores {size.timeout_s(2)} s")
    print(
        f"peak {peak.unique / 1e9:.2f} GB unique, {peak.resident / 1e9:.2f} GB resident; planned {size.ram_bytes / 1e9:.2f} GB"
    )
    for line in job.of_kind("file"):
        print(f"{line['quantization']}: quantised in {line['made_s']} s, {line['bytes'] / 1e9:.3f} GB")


if __name__ == "__main__":
    main()
