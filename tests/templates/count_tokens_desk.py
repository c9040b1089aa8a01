"""Tokenizers made on the spot, with any chat template, and the token worker spoken to line by line."""

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trl_mcp import environments
from trl_mcp.render.templates import template_source, templates_folder

CORPUS = [
    "What is the capital of the country? The capital is a city by the river.",
    "The user asks a question, the assistant answers. Yes, no, one two three 4 5 6 7 8 9 0.",
    "def add(a, b):\n    return a + b\n\nprint(add(1, 2))",
    "Wie spät ist es? Es ist fünf nach zwölf, schöne Grüße \u4f60\u597d \U0001f600.",
]
BEGIN, END = "<s>", "</s>"
_TOKEN = re.compile(r"<[|\uff5c]?[A-Za-z_\u2581/][^<>\s'\"{}]{0,40}>|\[/?[A-Z_]+\]")
_SHOWN = re.compile(r"'[^']*'|\"[^\"]*\"|\}[^{]*\{")


def token_python(home: Path) -> str:
    """Return the interpreter of the worker's environment, kept in `home`.

    TOKENS_PYTHON names the interpreter of such an environment where one is there already.
    """
    script = template_source("count_tokens")
    if python := os.environ.get("TOKENS_PYTHON"):
        header = environments.write_header(environments.read_header(script))
        folder = home / "envs" / hashlib.sha256(header.encode()).hexdigest()[:16]
        folder.mkdir(parents=True)
        (folder / "ready.json").write_text(json.dumps({"python": python, "cpu_only": False}), encoding="utf-8")
    return str(environments.prepare(script, home, os.environ))


def template_tokens(template: str) -> list[str]:
    """Return what looks like a special token in the text that a template shows."""
    return sorted({token for part in _SHOWN.findall(template) for token in _TOKEN.findall(part)})


def make_tokenizer(folder: Path, kind: str, template: str | None = None, eos: str | None = END) -> Path:
    """Write a tokenizer of one of these kinds.

    bpe: byte-level, no token of its own around a text; bpe_around: the same with one before and one behind it;
    unigram: one before every text; llama: that of this class, told to add it; unigram_filled_by_end: none, and texts
    are filled up by the token that ends them.
    """
    from transformers import PreTrainedTokenizerFast

    special = [BEGIN, END, "<unk>", *template_tokens(template or "")]
    made: Any = train_bytes(special) if kind.startswith("bpe") else train_pieces(special)
    begins = kind in ("bpe_around", "unigram", "llama")
    surround(made, f"{BEGIN} $A" + (f" {END}" if kind == "bpe_around" else "") if begins else "$A")
    filler = END if kind == "unigram_filled_by_end" else "<unk>"
    names: dict[str, Any] = {"unk_token": "<unk>", "eos_token": eos, "pad_token": filler}
    names |= {"bos_token": BEGIN} if begins else {}
    whole: Any = PreTrainedTokenizerFast(
        tokenizer_object=made, **{name: token for name, token in names.items() if token}
    )
    whole.chat_template = template
    whole.save_pretrained(folder)
    if kind == "llama":
        settings = folder / "tokenizer_config.json"
        known = json.loads(settings.read_text(encoding="utf-8"))
        own = {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True}
        settings.write_text(json.dumps(known | own), encoding="utf-8")
    return folder


def train_bytes(special: list[str]) -> Any:
    """Return a byte-level BPE."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer: Any = trainers.BpeTrainer(vocab_size=600, special_tokens=special, initial_alphabet=alphabet)
    made.train_from_iterator(CORPUS * 4, trainer)
    return made


def train_pieces(special: list[str]) -> Any:
    """Return a Unigram tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    trainer: Any = trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>")
    made.train_from_iterator(CORPUS * 4, trainer)
    return made


def surround(made: Any, pattern: str) -> None:
    """Let a tokenizer put tokens around a text."""
    from tokenizers import processors

    known = [(token, made.token_to_id(token)) for token in (BEGIN, END)]
    made.post_processor = processors.TemplateProcessing(single=pattern, special_tokens=known)


class TokenLine:
    """A running worker."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._asked = 0

    def ask(self, do: str, **request: Any) -> Any:
        """Return the answer. Raises AssertionError with the worker's words where it is an error."""
        answer = self.send(do, **request)
        assert "error" not in answer, answer["error"]
        return answer["answer"]

    def send(self, do: str, **request: Any) -> dict[str, Any]:
        """Return the line that answers a request."""
        self._asked += 1
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        folder = str(request.pop("folder"))
        self.process.stdin.write(json.dumps({"id": self._asked, "do": do, "folder": folder, **request}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the worker is gone"
        answer = json.loads(line)
        assert answer["id"] == self._asked
        return answer


@contextmanager
def token_line(python: str) -> Generator[TokenLine]:
    """Start a worker, and end it."""
    command = [python, str(templates_folder() / "count_tokens.py")]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with process:
        try:
            yield TokenLine(process)
        finally:
            process.kill()


def shipped_templates(python: str) -> dict[str, str]:
    """Return the chat templates of the TRL that an interpreter has, by name, those that it trains with among them."""
    find = "import importlib.util; print(importlib.util.find_spec('trl').submodule_search_locations[0])"
    where = subprocess.run([python, "-c", find], capture_output=True, text=True, check=True).stdout.strip()
    paths = sorted((Path(where) / "chat_templates").glob("*.jinja"))
    return {path.stem: path.read_text(encoding="utf-8") for path in paths}
