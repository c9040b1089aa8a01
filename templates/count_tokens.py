# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "transformers==5.23.0",
#     "trl==1.16.0",
# ]
#
# [tool.uv]
# override-dependencies = [
#     "torch; python_version < '3'",
#     "accelerate; python_version < '3'",
#     "datasets; python_version < '3'",
#     "pandas; python_version < '3'",
#     "pyarrow; python_version < '3'",
# ]
# ///
"""Count tokens as TRL would: a worker that is asked on its input, and answers on its output, in lines of JSON.

Nothing that trains is installed. Of TRL only the chat templates are read, which lie beside its code.
"""

import json
import os
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

RUN = {
    "memory_bytes": 8_000_000_000,
    "example_tokens": 700,
    "open_tokenizers": 4,
}

from _job.token_coder import RefusedConfigError, TokenCoder
from _job.token_folder import OpenTokenizer, open_tokenizer, template_failures
from _job.token_losses import doubled_ends, row_losses
from _job.token_rules import TOKEN_RULES, RawRow, TokenSequence

SETTING_FIELDS = ("eos_token", "chat_template_path")
WHOLE, CUT, DROPPED = 0, 1, 2


class TokenizerShelf:
    """The tokenizers that were asked for last, each as its config sets it up."""

    def __init__(self) -> None:
        """Begin with none."""
        self.opened: OrderedDict[str, OpenTokenizer] = OrderedDict()

    def get(self, folder: str, config: dict[str, Any]) -> OpenTokenizer:
        """Return the tokenizer of a folder, opened again where its files have changed."""
        places = [folder, config.get("chat_template_path")]
        files = sorted(path for place in places if place for path in Path(place).glob("*.j*"))
        states = [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files]
        key = json.dumps([folder, [config.get(name) for name in SETTING_FIELDS], states])
        if key not in self.opened:
            self.opened[key] = open_tokenizer(Path(folder), config)
        self.opened.move_to_end(key)
        while len(self.opened) > RUN["open_tokenizers"]:
            self.opened.popitem(last=False)
        return self.opened[key]


def code_rows(method: str, rows: list[RawRow], coder: TokenCoder) -> list[list[TokenSequence] | str]:
    """Return the sequences of each row, or why TRL could not read it; one such row does not spoil the others."""
    try:
        return list(TOKEN_RULES[method][0](rows, coder))
    except RefusedConfigError:
        raise
    except template_failures() as error:
        if len(rows) == 1:
            return [f"{type(error).__name__}: {error}"]
    half = len(rows) // 2
    return [*code_rows(method, rows[:half], coder), *code_rows(method, rows[half:], coder)]


def measured(method: str, row: list[TokenSequence] | str, config: dict[str, Any], limits: list[int | None]) -> Any:
    """Return a row's figures: its longest sequence, all its tokens, and what each max_length leaves of them.

    A text in place of the figures is why TRL would stop at this row.
    """
    if isinstance(row, str):
        return row
    lengths = [len(sequence.ids) for sequence in row]
    try:
        return [max(lengths), sum(lengths), [left(method, row, config, limit) for limit in limits]]
    except ValueError as error:
        return str(error)


def left(method: str, row: list[TokenSequence], config: dict[str, Any], limit: int | None) -> list[int]:
    """Return the tokens that are left at a max_length, those of them that are trained on, and the row's fate."""
    kept = TOKEN_RULES[method][1](row, config, limit)
    tokens = sum(len(sequence.ids) for sequence in kept)
    whole = sum(len(sequence.ids) for sequence in row)
    fate = DROPPED if not kept else WHOLE if tokens == whole else CUT
    return [tokens, sum(sum(sequence.trained) for sequence in kept), fate]


def shown(sequence: TokenSequence, tokenizer: Any) -> str:
    """Return a sequence as text, with the parts that are trained on between marks."""
    ids, flags = sequence.ids[: RUN["example_tokens"]], sequence.trained[: RUN["example_tokens"]]
    changes = [place for place in range(1, len(ids)) if flags[place] != flags[place - 1]]
    text, before = "", ""
    for begin, end in zip([0, *changes], [*changes, len(ids)], strict=True):
        # Decoded from the start: some decoders leave out a space where a text begins.
        now = tokenizer.decode(ids[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
        piece, before = now[len(before) :], now
        text += f"\u00ab{piece}\u00bb" if ids and flags[begin] else piece
    more = len(sequence.ids) - len(ids)
    return text + (f" [and {more} tokens more]" if more else "")


def example(method: str, row: RawRow, opened: OpenTokenizer, config: dict[str, Any]) -> str:
    """Return a row as the model sees it; the sides of a pair stand one below the other."""
    sequences = TOKEN_RULES[method][0]([row], opened.coder(config))[0]
    kept = TOKEN_RULES[method][1](sequences, config, config.get("max_length")) or sequences
    texts = [shown(sequence, opened.tokenizer) for sequence in kept]
    lost = sum(len(sequence.ids) for sequence in sequences) - sum(len(sequence.ids) for sequence in kept)
    note = f"\n[{lost} tokens cut at max_length]" if lost else ""
    return ("\n--- chosen above, rejected below ---\n".join(texts)) + note


def losses(method: str, row: RawRow, coder: TokenCoder) -> dict[str, list[str]]:
    """Return what the chat template leaves out of a row, and which tokens stand twice around it."""
    try:
        return {
            "lost": row_losses(method, row, coder),
            "doubled": doubled_ends(TOKEN_RULES[method][0]([row], coder)[0], coder),
        }
    except template_failures():
        return {"lost": [], "doubled": []}


def reply(request: dict[str, Any], shelf: TokenizerShelf) -> Any:
    """Do what is asked: open a tokenizer, measure rows, show one as text, say what rows lose, or return their tokens."""
    config, method = request.get("config", {}), request.get("method", "")
    opened = shelf.get(request["folder"], config)
    if request["do"] == "open":
        return opened.facts
    config = config | {"positions": opened.facts["positions"]}
    if method not in TOKEN_RULES:
        raise ValueError(f"there is no method {method!r}; there are {', '.join(TOKEN_RULES)}")
    if request["do"] == "example":
        return example(method, request["rows"][0], opened, config)
    if request["do"] == "losses":
        return [losses(method, row, opened.coder(config)) for row in request["rows"]]
    coded = code_rows(method, request["rows"], opened.coder(config))
    if request["do"] == "measure":
        return [measured(method, row, config, request["limits"]) for row in coded]
    return [row if isinstance(row, str) else detail(method, row, config) for row in coded]


def detail(method: str, row: list[TokenSequence], config: dict[str, Any]) -> list[list[list[int]]]:
    """Return what is left of a row: for each sequence its token ids and the flags of those trained on."""
    kept = TOKEN_RULES[method][1](row, config, config.get("max_length"))
    return [[sequence.ids, sequence.trained] for sequence in kept]


def limit_memory() -> None:
    """Let no template take the whole machine's memory, where the system can hold a process to that."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (RUN["memory_bytes"], RUN["memory_bytes"]))
    except (ImportError, OSError, ValueError):
        return


def serve() -> None:
    """Answer line by line until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    shelf = TokenizerShelf()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            answer = {"id": request["id"], "answer": reply(request, shelf)}
        except MemoryError:
            words = "more memory is needed than a measurement may take"
            answer = {"id": request["id"], "error": words, "overran": True}
        except RefusedConfigError as error:
            answer = {"id": request["id"], "error": str(error)[:1000], "refused": error.code}
        except (*template_failures(), OSError, ImportError) as error:
            answer = {"id": request["id"], "error": f"{type(error).__name__}: {error}"[:1000]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    os.environ |= {"TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "true"}
    limit_memory()
    serve()
