"""The rules of each method's job: which tokens a row becomes, which of them are trained on, what max_length leaves.

Equal to the preprocessing of TRL 1.16.0 (PPO: 1.12.0, PRM: 1.13.0) and to what the templates do before and after it,
token by token; a row on which that would fail raises here too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from _job.gkd_rows import gkd_texts, shared_letters
from _job.token_coder import CodedText, RefusedConfigError, TokenCoder, is_chat, shared_start, template_extras

RawRow = dict[str, Any]
LENGTH_OF_ORPO = 512
LENGTH_OF_PPO_ANSWERS = 53
UNKNOWN_POSITIONS = 1024


@dataclass(frozen=True)
class TokenSequence:
    """What the model reads at once: token ids, a flag for each that is trained on, the length of the prompt in it."""

    ids: list[int]
    trained: list[int]
    prompt: int = 0

    def part(self, bounds: slice) -> "TokenSequence":
        """Return some of the tokens."""
        return TokenSequence(self.ids[bounds], self.trained[bounds], self.prompt)


def after_prompt(ids: list[int], prompt: int) -> TokenSequence:
    """Return a sequence that is trained on after its prompt."""
    return TokenSequence(ids, [0] * prompt + [1] * (len(ids) - prompt), prompt)


def coded_prompts(rows: list[RawRow], coder: TokenCoder) -> list[list[int]]:
    """Return the tokens of the prompts alone, with the opening of the answer where they are conversations."""
    prompts = [row["prompt"] for row in rows]
    if not is_chat(prompts[0]):
        return coder.texts(prompts)
    extras = [template_extras(row, add_generation_prompt=True) for row in rows]
    return [coded.ids for coded in coder.chats(prompts, extras)]


def coded_whole(rows: list[RawRow], column: str, coder: TokenCoder, masks: bool = False) -> list[CodedText]:
    """Return the tokens of a column with the prompt, where there is one, before it."""
    if is_chat(rows[0][column]):
        chats = [[*row.get("prompt", []), *row[column]] for row in rows]
        return coder.chats(chats, [template_extras(row) for row in rows], masks)
    return [CodedText(ids) for ids in coder.texts([row.get("prompt", "") + coder.ended(row[column]) for row in rows])]


def sft_sequences(rows: list[RawRow], coder: TokenCoder) -> list[list[TokenSequence]]:
    """Return each row's conversation, text, or prompt with its completion."""
    column = next(name for name in ("completion", "messages", "text") if name in rows[0])
    masks = bool(coder.config.get("assistant_only_loss"))
    if masks and not is_chat(rows[0][column]):
        raise RefusedConfigError(
            "loss.assistant_only", "assistant_only_loss needs conversations; these rows hold texts"
        )
    whole = coded_whole(rows, column, coder, masks)
    if any(coded.assistant is not None and 1 not in coded.assistant for coded in whole):
        raise ValueError("assistant_only_loss, but the chat template marks nothing as said by the assistant")
    starts = [0] * len(rows)
    if column == "completion" and coder.config.get("completion_only_loss") is not False:
        prompts = coded_prompts(rows, coder)
        starts = [shared_start(prompt, coded.ids) for prompt, coded in zip(prompts, whole, strict=True)]
    return [[masked_after(coded, start)] for coded, start in zip(whole, starts, strict=True)]


def masked_after(coded: CodedText, prompt: int) -> TokenSequence:
    """Return a sequence that is trained on after its prompt and, where that was marked, where an assistant speaks."""
    sequence = after_prompt(coded.ids, prompt)
    if coded.assistant is None:
        return sequence
    both = [said & later for said, later in zip(coded.assistant, sequence.trained, strict=True)]
    return TokenSequence(coded.ids, both, prompt)


def kto_sequences(rows: list[RawRow], coder: TokenCoder) -> list[list[TokenSequence]]:
    """Return each prompt with its completion."""
    return pair_sequences(rows, ("completion",), coder)


def dpo_sequences(rows: list[RawRow], coder: TokenCoder) -> list[list[TokenSequence]]:
    """Return each prompt with the chosen answer and with the rejected one, both trained on after the same token."""
    return pair_sequences(rows, ("chosen", "rejected"), coder)


def pair_sequences(rows: list[RawRow], answers: tuple[str, ...], coder: TokenCoder) -> list[list[TokenSequence]]:
    """Return each prompt with each of its answers."""
    wholes = [[coded.ids for coded in coded_whole(rows, answer, coder)] for answer in answers]
    found: list[list[TokenSequence]] = []
    for prompt, *row_wholes in zip(coded_prompts(rows, coder), *wholes, strict=True):
        start = min(shared_start(prompt, ids) for ids in row_wholes)
        found.append([after_prompt(ids, start) for ids in row_wholes])
    return found


def reward_sequences(rows: list[RawRow], coder: TokenCoder) -> list[list[TokenSequence]]:
    """Return the two texts that are compared; each is judged as a whole."""
    # Encoders name the end of a text otherwise.
    coder.end = coder.end or coder.tokenizer.sep_token
    sides = [coded_whole(rows, side, coder) for side in ("chosen", "rejected")]
    return [[after_prompt(coded.ids, 0) for coded in pair] for pair in zip(*sides, strict=True)]


def prompt_sequences(rows: list[RawRow], coder: TokenCoder) -> list[list[TokenSequence]]:
    """Return each prompt; what is trained on is written by the model itself."""
    own = {"add_generation_prompt": True, **(coder.config.get("chat_template_kwargs") or {})}
    prompts = [row["prompt"] for row in rows]
    if is_chat(prompts[0]):
        return as_prompts([each.ids for each in coder.chats(prompts, [own] * len(rows))])
    return as_prompts(coder.texts(prompts))


def as_prompts(coded: list[list[int]]) -> list[list[TokenSequence]]:
    """Return tokens as prompts, in which nothing is trained on."""
    return [[TokenSequence(ids, [0] * len(ids), len(ids))] for ids in coded]


def ppo_sequences(rows: list[RawRow], coder: TokenCoder) -> list[list[TokenSequence]]:
    """Return each prompt, rendered with the tools and the arguments of its row."""
    prompts = [row["prompt"] for row in rows]
    if not is_chat(prompts[0]):
        return as_prompts(coder.texts(prompts))
    extras = [template_extras(row, add_generation_prompt=True) for row in rows]
    return as_prompts(coder.texts(coder.rendered(prompts, extras), special=False))


def opening_extras(prompt: list[RawRow], row: RawRow) -> dict[str, Any]:
    """Return how a prompt is rendered that is to be answered, or to be continued where the assistant spoke last."""
    last = prompt[-1]["role"]
    if last not in ("user", "tool", "assistant"):
        raise ValueError(f"a prompt whose last turn is of the role {last} cannot be answered")
    goes_on = last == "assistant"
    return template_extras(row, add_generation_prompt=not goes_on, continue_final_message=goes_on)


def online_dpo_sequences(rows: list[RawRow], coder: TokenCoder) -> list[list[TokenSequence]]:
    """Return each prompt, rendered first and tokenised as a text."""
    prompts = [row["prompt"] for row in rows]
    if is_chat(prompts[0]):
        prompts = coder.rendered(prompts, [opening_extras(prompt, {}) for prompt in prompts])
    return as_prompts(coder.texts(prompts, special=False))


def orpo_sequences(rows: list[RawRow], coder: TokenCoder) -> list[list[TokenSequence]]:
    """Return each prompt with the chosen answer and with the rejected one, each with its own end of the prompt."""
    prompts, *wholes = orpo_texts(rows, coder)
    coded = [coder.texts(texts, special=False) for texts in (prompts, *wholes)]
    return [orpo_pair(prompt, pair, coder) for prompt, *pair in zip(*coded, strict=True)]


def orpo_texts(rows: list[RawRow], coder: TokenCoder) -> list[list[str]]:
    """Return the texts of all prompts, of all prompts with the chosen answer, of all with the rejected one."""
    sides = [[row["prompt"] + row[side] for row in rows] for side in ("chosen", "rejected")]
    prompts = [row["prompt"] for row in rows]
    if not is_chat(prompts[0]):
        return [prompts, *sides]
    extras = [template_extras(row) for row in rows]
    opened = coder.rendered(prompts, [opening_extras(row["prompt"], row) for row in rows])
    wholes = [coder.rendered(chats, extras) for chats in sides]
    return [[shared_text(texts) for texts in zip(opened, *wholes, strict=True)], *wholes]


def shared_text(texts: Sequence[str]) -> str:
    """Return what all texts begin with, letter by letter."""
    first, last = min(texts), max(texts)
    pairs = enumerate(zip(first, last, strict=False))
    return first[: next((place for place, (one, other) in pairs if one != other), len(first))]


def orpo_pair(prompt: list[int], wholes: list[list[int]], coder: TokenCoder) -> list[TokenSequence]:
    """Return both sequences of one row, with a beginning and an end where the tokenizer set none."""
    if any(len(ids) < len(prompt) for ids in wholes):
        raise ValueError("the prompt has more tokens alone than together with its answer")
    starts = [len(prompt) - (ids[: len(prompt)] != prompt) for ids in wholes]
    heads = [ids[:start] for ids, start in zip(wholes, starts, strict=True)]
    if sum(one != other for one, other in zip(*heads, strict=False)) > 1:
        raise ValueError("the prompt has other tokens before the chosen answer than before the rejected one")
    begin, end = coder.tokenizer.bos_token_id, coder.tokenizer.eos_token_id
    found: list[TokenSequence] = []
    for ids, start in zip(wholes, starts, strict=True):
        head, answer = ids[:start], ids[start:]
        head = [begin, *head] if begin is not None and head[:1] != [begin] else head
        answer = answer if answer[-1:] == [end] else [*answer, end]
        found.append(after_prompt(head + answer, len(head)))
    return found


def gkd_sequences(rows: list[RawRow], coder: TokenCoder) -> list[list[TokenSequence]]:
    """Return each conversation, trained on in its last answer, whose tokens begin anew behind the prompt."""
    texts = [gkd_texts(row, coder.tokenizer) for row in rows]
    asked = coder.texts([prompt for prompt, _ in texts], special=False)
    told = coder.texts([whole[shared_letters(prompt, whole) :] for prompt, whole in texts], special=False)
    return [[after_prompt(prompt + answer, len(prompt))] for prompt, answer in zip(asked, told, strict=True)]


def prm_sequences(rows: list[RawRow], coder: TokenCoder) -> list[list[TokenSequence]]:
    """Return each prompt with its steps, trained on at the end of each step."""
    separator = coder.texts([coder.config.get("step_separator", "\n")], special=False)[0]
    begin = [] if coder.tokenizer.bos_token_id is None else [coder.tokenizer.bos_token_id]
    last_only = bool(coder.config.get("train_on_last_step_only"))
    longest = coder.config.get("max_completion_length")
    found: list[list[TokenSequence]] = []
    for row in rows:
        prompt, *steps = coder.texts([row["prompt"], *row["completions"]], special=False)
        if len(steps) != len(row["labels"]):
            raise ValueError(f"{len(steps)} steps with {len(row['labels'])} labels")
        ids: list[int] = []
        trained: list[int] = []
        for number, step in enumerate(steps, 1):
            ids += step + separator
            trained += [0] * (len(step + separator) - 1) + [int(not last_only or number == len(steps))]
        head = begin + prompt
        cut = TokenSequence(ids, trained).part(slice(longest))
        found.append([TokenSequence(head + cut.ids, [0] * len(head) + cut.trained, len(head))])
    return found


def kept_side(config: dict[str, Any], max_length: int) -> slice:
    """Return the part that truncation keeps."""
    mode = config.get("truncation_mode", "keep_start")
    if mode not in ("keep_start", "keep_end"):
        raise ValueError(f"truncation_mode is {mode}; it is keep_start or keep_end")
    return slice(-max_length, None) if mode == "keep_end" else slice(max_length)


def sft_cut(row: list[TokenSequence], config: dict[str, Any], max_length: int | None) -> list[TokenSequence]:
    """Drop a row of which nothing trained is left; packing drops none, and only bfd cuts."""
    if config.get("packing"):
        if max_length is None:
            raise ValueError("packing needs a max_length")
        if config.get("packing_strategy", "bfd") != "bfd":
            return row
        return [sequence.part(slice(max_length)) for sequence in row]
    if max_length is None:
        return row
    cut = [sequence.part(kept_side(config, max_length)) for sequence in row]
    return cut if any(cut[0].trained) else []


def dpo_cut(row: list[TokenSequence], config: dict[str, Any], max_length: int | None) -> list[TokenSequence]:
    """Drop a row whose prompt alone fills max_length, unless the end is what is kept."""
    if max_length is None:
        return row
    side = kept_side(config, max_length)
    if side.start is None and row[0].prompt >= max_length:
        return []
    return [sequence.part(side) for sequence in row]


def kto_cut(row: list[TokenSequence], config: dict[str, Any], max_length: int | None) -> list[TokenSequence]:
    """Drop a row whose prompt alone fills max_length; the start is what is kept."""
    return dpo_cut(row, config | {"truncation_mode": "keep_start"}, max_length)


def reward_cut(row: list[TokenSequence], _config: dict[str, Any], max_length: int | None) -> list[TokenSequence]:
    """Drop a pair of which one side is longer than max_length."""
    fits = max_length is None or all(len(sequence.ids) <= max_length for sequence in row)
    return row if fits else []


def orpo_cut(row: list[TokenSequence], _config: dict[str, Any], max_length: int | None) -> list[TokenSequence]:
    """Cut the answers and never the prompt."""
    longest = LENGTH_OF_ORPO if max_length is None else max_length
    return [sequence.part(slice(max(longest, sequence.prompt))) for sequence in row]


def labelled_cut(row: list[TokenSequence], _config: dict[str, Any], max_length: int | None) -> list[TokenSequence]:
    """Keep the start, and drop a row of which nothing trained is left."""
    cut = [sequence.part(slice(max_length)) for sequence in row]
    return cut if any(cut[0].trained) else []


def ppo_cut(row: list[TokenSequence], config: dict[str, Any], _max_length: int | None) -> list[TokenSequence]:
    """Drop a prompt that leaves no room for an answer in what the model can read."""
    answer = config.get("response_length", LENGTH_OF_PPO_ANSWERS)
    room = max(1, (config.get("positions") or UNKNOWN_POSITIONS) - answer)
    return row if 0 < len(row[0].ids) <= room else []


def no_cut(row: list[TokenSequence], _config: dict[str, Any], _max_length: int | None) -> list[TokenSequence]:
    """Keep all."""
    return row


SequenceRule = Callable[[list[RawRow], TokenCoder], list[list[TokenSequence]]]
CutRule = Callable[[list[TokenSequence], dict[str, Any], int | None], list[TokenSequence]]
TOKEN_RULES: dict[str, tuple[SequenceRule, CutRule]] = {
    "sft": (sft_sequences, sft_cut),
    "dpo": (dpo_sequences, dpo_cut),
    "kto": (kto_sequences, kto_cut),
    "reward": (reward_sequences, reward_cut),
    "grpo": (prompt_sequences, no_cut),
    "rloo": (prompt_sequences, no_cut),
    "distillation": (prompt_sequences, no_cut),
    "ppo": (ppo_sequences, ppo_cut),
    "online_dpo": (online_dpo_sequences, no_cut),
    "orpo": (orpo_sequences, orpo_cut),
    "cpo": (orpo_sequences, orpo_cut),
    "gkd": (gkd_sequences, labelled_cut),
    "prm": (prm_sequences, labelled_cut),
}
