"""A model's tokenizer opened from its folder, and what is known of its chat template before any row is read."""

import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _job.token_coder import RefusedConfigError, TokenCoder

SAID = "answer 7391"
PROBE_CHAT = [{"role": "user", "content": "question"}, {"role": "assistant", "content": SAID}]
CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx")
NO_LIMIT = 10**9


@dataclass(frozen=True)
class OpenTokenizer:
    """A tokenizer as a trainer's config sets it up, and what is known of it."""

    tokenizer: Any
    facts: dict[str, Any]
    training_template: str | None

    def coder(self, config: dict[str, Any]) -> TokenCoder:
        """Return what turns rows into tokens. Raises RefusedConfigError where the loss asked for cannot be had."""
        if not config.get("assistant_only_loss"):
            return TokenCoder(self.tokenizer, config)
        if not self.facts["assistant_only"]:
            why = "TRL has no training template for this chat template"
            has_none = "the model has no chat template"
            words = f"assistant_only_loss cannot be used: {why if self.facts['chat_template'] else has_none}"
            raise RefusedConfigError("loss.assistant_only", words)
        return TokenCoder(self.tokenizer, config, self.training_template)


def open_tokenizer(folder: Path, config: dict[str, Any]) -> OpenTokenizer:
    """Open the tokenizer in a folder, with the `eos_token` and the `chat_template_path` of the config."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    set_end(tokenizer, config.get("eos_token"))
    set_template(tokenizer, config.get("chat_template_path"), config.get("eos_token"))
    template = default_template(tokenizer)
    training = None if template is None or has_markers(template) else shipped_training_template(template)
    return OpenTokenizer(tokenizer, tokenizer_facts(folder, tokenizer, training), training)


def set_end(tokenizer: Any, token: str | None) -> None:
    """Make a token of the vocabulary the end of a sequence."""
    if token is None:
        return
    if token not in tokenizer.get_vocab():
        raise RefusedConfigError("tmpl.unknown_eos", f"eos_token {token!r} is not in the tokenizer's vocabulary")
    tokenizer.eos_token = token


def set_template(tokenizer: Any, source: str | None, end: str | None) -> None:
    """Take over a template file, or from a folder the template, its tokens and its end of sequence.

    An `end` of the run's own goes before that of the folder, as in the job, unless tokens have to be added.
    """
    if source is None:
        return
    if source.endswith((".jinja", ".j2")):
        tokenizer.chat_template = Path(source).read_text(encoding="utf-8")
        return
    from transformers import AutoTokenizer

    other: Any = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    if not other.chat_template:
        raise RefusedConfigError("tmpl.path", f"chat_template_path {Path(source).name} has no chat template")
    tokenizer.chat_template = other.get_chat_template()
    known = tokenizer.get_vocab()
    missing = [token for token in other.added_tokens_decoder.values() if token.content not in known]
    tokenizer.add_tokens(missing)
    if missing or end is None:
        tokenizer.eos_token = other.eos_token


def default_template(tokenizer: Any) -> str | None:
    """Return the chat template, of several named ones the default."""
    template = tokenizer.chat_template
    return template.get("default") if isinstance(template, dict) else template


def has_markers(template: str) -> bool:
    """Tell whether a template marks what the assistant says."""
    return re.search(r"\{%-?\s*generation\s*-?%\}", template) is not None


def shipped_training_template(template: str) -> str | None:
    """Return the template that TRL trains with in place of one that it knows, read from TRL's own files."""
    package = importlib.util.find_spec("trl")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("trl is not installed")
    folder = Path(package.origin).parent / "chat_templates"
    for path in sorted(folder.glob("*_training.jinja")):
        known = folder / f"{path.stem.removesuffix('_training')}.jinja"
        if known.read_text(encoding="utf-8") == template:
            return path.read_text(encoding="utf-8")
    return None


def tokenizer_facts(folder: Path, tokenizer: Any, training: str | None) -> dict[str, Any]:
    """Return what can be said of the tokenizer and its chat template without any row."""
    template = default_template(tokenizer)
    config = model_config(folder)
    end = end_of_turn(tokenizer) if template else None
    own_ends = read_settings(folder / "generation_config.json").get("eos_token_id", config.get("eos_token_id"))
    ends = own_ends if isinstance(own_ends, list) else [own_ends]
    return {
        "vocabulary": len(tokenizer),
        "eos_token": tokenizer.eos_token,
        "model_type": config.get("model_type", ""),
        "positions": model_positions(config),
        "context_length": context_length(config, tokenizer),
        "chat_template": template is not None,
        "template_sha256": hashlib.sha256(template.encode()).hexdigest() if template else None,
        "end_of_turn": end,
        "stops_at_end_of_turn": end in (None, tokenizer.eos_token) or tokenizer.convert_tokens_to_ids(end) in ends,
        "assistant_only": bool(template and (has_markers(template) or training)),
        "end_of_turn_trained": bool(template) and trains_end(tokenizer, training or template),
    }


def read_settings(path: Path) -> dict[str, Any]:
    """Return what a settings file holds; nothing where it is missing."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


def model_config(folder: Path) -> dict[str, Any]:
    """Return the config of the model in a folder; of an adapter that of its base, where that is a folder too."""
    base = read_settings(folder / "adapter_config.json").get("base_model_name_or_path")
    return read_settings(folder / "config.json") or (read_settings(Path(str(base)) / "config.json") if base else {})


def model_positions(config: dict[str, Any]) -> int | None:
    """Return how many tokens the model was made to read at once, as its config says."""
    texts = config.get("text_config")
    merged = config | (texts if isinstance(texts, dict) else {})
    found = (merged[name] for name in CONTEXT_FIELDS if isinstance(merged.get(name), int) and merged[name] > 0)
    return next(found, None)


def context_length(config: dict[str, Any], tokenizer: Any) -> int | None:
    """Return how many tokens the model can read at once, as far as its files say."""
    limit = tokenizer.model_max_length
    return model_positions(config) or (int(limit) if 0 < limit < NO_LIMIT else None)


def end_of_turn(tokenizer: Any) -> str | None:
    """Return the token that the chat template puts behind an answer; empty without one, None where it cannot tell."""
    try:
        text = tokenizer.apply_chat_template(PROBE_CHAT, tokenize=False)
    except template_failures():
        return None
    _, said, rest = text.rpartition(SAID)
    if not said:
        return None
    known = {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}
    places = sorted((rest.find(token), -len(token), token) for token in known if token and token in rest)
    return places[0][2] if places else ""


def trains_end(tokenizer: Any, template: str) -> bool:
    """Tell whether the token that ends a turn is among those marked as said by the assistant."""
    chat = [*PROBE_CHAT, PROBE_CHAT[0]]
    try:
        coded = tokenizer.apply_chat_template(
            chat, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, chat_template=template
        )
    except template_failures():
        return False
    said = [token for token, flag in zip(coded["input_ids"], coded["assistant_masks"], strict=True) if flag]
    words = [token for token in said if tokenizer.decode([token]).strip()]
    return bool(words) and words[-1] in tokenizer.get_added_vocab().values()


def template_failures() -> tuple[type[Exception], ...]:
    """Return what a chat template, or a value that it was not made for, can raise."""
    from jinja2 import TemplateError

    return (TemplateError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
