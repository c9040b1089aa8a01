"""A chat template taken from another model, for a base model that has none."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

JINJA_ENDINGS = (".jinja", ".j2")


@dataclass(frozen=True)
class BorrowedTemplate:
    """Another model's chat template, the token that ends its turns, and those of its tokens that the model lacks."""

    text: str
    end: str
    missing: tuple[str, ...]


def borrowed_template(run: dict[str, Any], tokenizer: tuple[str, str | None]) -> BorrowedTemplate | None:
    """Return the template of the model that the run's chat_template_path names, as seen from the run's own tokenizer.

    None where it names none, or a file that holds a template alone.
    """
    path = run["config"].get("chat_template_path")
    if path is None or path.endswith(JINJA_ENDINGS):
        return None
    return read_template(path, *tokenizer)


@functools.cache
def read_template(path: str, name: str, revision: str | None) -> BorrowedTemplate:
    """Return the template of a model as seen from the tokenizer of another one."""
    from transformers import AutoTokenizer

    source, own = AutoTokenizer.from_pretrained(path), AutoTokenizer.from_pretrained(name, revision=revision)
    if not source.chat_template:
        raise SystemExit(f"chat_template_path {path} has no chat template: name an instruct model of the same family")
    vocabulary = own.get_vocab()
    added = [str(token.content) for token in source.added_tokens_decoder.values()]
    missing = tuple(token for token in added if token not in vocabulary)
    return BorrowedTemplate(source.get_chat_template(), str(source.eos_token), missing)


def check_new_tokens(template: BorrowedTemplate | None, run: dict[str, Any], config: Any) -> None:
    """End the job where the template needs tokens that an adapter could not learn."""
    if template is None or not template.missing or run["tuning"] == "full" or not config.tie_word_embeddings:
        return
    few = ", ".join(template.missing[:3])
    raise SystemExit(
        f"the chat template of {Path(run['config']['chat_template_path']).name} needs {len(template.missing)} tokens "
        f"that {run['model']} has not ({few}), and an adapter cannot teach them to a model whose embeddings are its "
        "output layer: take tuning full, or the chat_template_path of a model of the same family"
    )
