"""Checks that are made where their facts are, and hold for every run: listed here for the documents and for `accept`."""

from dataclasses import dataclass
from enum import StrEnum

from trl_mcp.values import Severity


class Place(StrEnum):
    """Where a check is made, in words for people."""

    ARGUMENTS = "arguments: a tool error before anything is looked at"
    HUB = "Hub: a tool error with what may be meant"
    JUDGES = "language models among the rewards"
    DATA = "rows of the data"
    TOKENS = "tokens of the data"
    ESTIMATE = "estimate"
    PERMISSION = "permission"
    MONEY = "money"
    CONVERSION = "convert_gguf"
    SCRIPTS = "submit_script"
    SCRIPT = "every script, by construction"
    ANSWER = "the Hub's answer to the submission"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A check that is made elsewhere: what it looks for, and the mend."""

    code: str
    severity: Severity
    looks_for: str
    fix: str
    place: Place


def _at(place: Place, severity: Severity, *entries: tuple[str, str, str]) -> tuple[Elsewhere, ...]:
    return tuple(Elsewhere(code, severity, looks_for, fix, place) for code, looks_for, fix in entries)


_ARGUMENTS = _at(
    Place.ARGUMENTS,
    Severity.ERROR,
    ("api.unknown_arg", "a trainer argument that the pinned TRL does not have", "the name it has, or leave it out"),
    ("kto.batch", "kto with fewer than two rows per device, or rows in random order", "leave both to the server"),
    ("grpo.divisible", "answers to one prompt torn apart by the batch", "the numbers that fit are named"),
    ("grpo.deps", "a reward that needs a package", "none: the script brings it"),
    ("grpo.no_afbs", "auto_find_batch_size with grpo or rloo", "a smaller per_device_train_batch_size"),
    ("grpo.vllm", "use_vllm with a method or on a machine that vLLM does not run with", "leave it out"),
    (
        "hw.strategy",
        "a strategy that the method, the tuning or a machine with one GPU cannot have",
        "what works is named",
    ),
    ("model.kernels", "attention kernels from elsewhere than their makers' organisation", "one of those named"),
    ("lora.targets", "target_modules as a list of one word, or with lm_head", "all-linear"),
    ("qlora.dtype", "qlora with float16", "leave fp16 and bf16 out"),
    ("data.streaming", "streaming, which no training here uses", "leave it out"),
)
_HUB = _at(
    Place.HUB,
    Severity.ERROR,
    ("data.split", "a config or split that the data set does not have", "one of those named"),
    ("model.gate", "a model or data set whose conditions were not accepted", "accept them on the page named"),
)
_DATA_WARNINGS = _at(
    Place.DATA,
    Severity.WARNING,
    ("data.types", "values of a wrong type, which are left out", "mend these rows"),
    ("data.sharegpt_roles", "turns of an unknown speaker, which are left out", 'columns=["role.bot=assistant"]'),
    ("data.none_values", "missing values, which are left out", "fill them in"),
    ("data.last_assistant", "conversations that do not end with an answer", "take the last turn out"),
    ("data.mixed_pref", "pairs whose prompts differ", "mend these rows"),
    ("data.mixed_layout", "rows of another layout", "keep them in a data set of their own"),
    ("data.tools", "tools that are no list of JSON schemas", "mend these rows"),
    ("data.vision", "pictures or sound, which are not read", "go on if the text makes sense alone"),
    ("data.role_order", "two turns of one role in a row", "join them"),
    ("data.late_system", "a system turn that is not first", "move it to the front"),
    ("data.assistant_first", "an answer before any question", "check that no turn was lost"),
    ("data.empty_turn", "turns that say nothing", "fill them in"),
    ("data.empty_prompt", "rows with an empty prompt, which are left out", "fill them in"),
    ("data.empty_completion", "rows with an empty answer, which are left out", "fill them in"),
    ("data.empty_text", "rows without a text, which are left out", "fill them in"),
    ("data.bad_text", "text that is not valid Unicode, left out", "save it as UTF-8"),
    ("data.whole_answer", "completions that are whole conversations, left out", "columns"),
    ("data.no_winner", "two answers of which neither is said to be better, left out", "none needed"),
    ("data.no_question", "prompts in which nobody asks anything, left out", "mend these rows"),
    ("data.no_marker", "rows without the text that `| after` looks for, left out", "columns"),
    ("data.steps_differ", "rows with more or fewer labels than steps, left out", "mend these rows"),
    ("data.identical_pair", "pairs of equal answers", "take them out"),
    ("data.near_pair", "pairs that hardly differ", "check that it is meant"),
    ("data.placeholder", "placeholders nobody has filled in", "fill them in"),
    ("data.secret", "what looks like a key or token", "revoke it and take it out"),
    ("data.duplicates", "rows that are there twice", "remove the copies"),
    ("data.leakage", "rows of the evaluation split in the training split", "remove them from one"),
    ("data.bad_answers", "answers marked as bad, trained on as if good", "method=kto"),
    (
        "data.sides",
        "one answer named as better in every row, where a column says which is",
        "leave both out of columns",
    ),
    ("kto.balance", "more good than bad answers, or fewer", "the weight named"),
)
_DATA_ERRORS = _at(
    Place.DATA,
    Severity.ERROR,
    ("data.nonempty", "data of which no row can be trained on", "mend the rows, or say in columns what to read"),
    ("data.columns", "columns that cannot be told from one another, or are not there", "columns"),
    ("grpo.reward", "a reward that reads a column it is not given", "columns"),
    ("model.offline", "a model that is not on this machine, with a server that stays offline", "a folder"),
)
_DATA_INFOS = _at(
    Place.DATA,
    Severity.INFO,
    ("data.json_string", "turns kept as JSON text, which is read", "none needed"),
    ("data.converted", "files read in the Hub's own conversion to Parquet", "none needed"),
    ("data.more_methods", "a method that the data suits once columns are named", "columns"),
    ("data.coverage", "rows that nobody looked at in time", "none needed"),
    ("data.unchecked", "data that could not be looked at", "none: the job checks it first"),
    ("dataset.unchecked", "a data set that the Hub could not be asked for", "none: the job checks it first"),
    ("model.unchecked", "a model that the Hub could not be asked for", "none: the job checks it first"),
)
_TOKENS = (
    *_at(
        Place.TOKENS,
        Severity.ERROR,
        ("tmpl.missing", "conversations and a model without a chat template", "chat_template_path"),
        ("tmpl.refused", "rows that the chat template refuses", "mend or leave out these rows"),
        ("tmpl.unknown_eos", "an eos_token that the tokenizer does not know", "a token of the vocabulary"),
        ("tmpl.path", "a chat_template_path without a chat template", "an instruct model of the family"),
        ("loss.assistant_only", "assistant_only_loss that TRL has no training template for", "leave it out"),
        ("loss.completion_only", "completion_only_loss on whole conversations", "assistant_only_loss"),
    ),
    *_at(
        Place.TOKENS,
        Severity.WARNING,
        ("tmpl.base_eos", "a chat template whose end of turn is not where the model stops", "eos_token"),
        ("tmpl.no_end", "a chat template that puts no token behind an answer", "another template"),
        ("tmpl.lost", "turns, reasoning or tools that the chat template leaves out", "another template"),
        ("tmpl.doubled", "a token around texts that stands there twice", "take it out of the texts"),
        ("loss.stop_token", "assistant_only_loss that leaves the end of turn out", "leave it out"),
        ("data.len", "rows longer than max_length", "a larger max_length"),
        ("data.packing", "rows that packing cuts off", "packing_strategy=bfd_split"),
        ("data.untrained", "rows without a token that is trained on", "a larger max_length"),
    ),
    *_at(
        Place.TOKENS,
        Severity.INFO,
        ("loss.every_turn", "conversations trained on whole", "assistant_only_loss=true"),
        ("tokens.unmeasured", "tokens that could not be counted in time", "call again"),
        ("tokens.assumed", "a max_length that was assumed", "give max_length"),
    ),
)
_ESTIMATE = (
    *_at(Place.ESTIMATE, Severity.ERROR, ("hw.memory", "a training that does not fit", "the mend is named")),
    *_at(Place.ESTIMATE, Severity.WARNING, ("hw.tight", "a training with less than a fifth to spare", "smaller rows")),
    *_at(Place.ESTIMATE, Severity.INFO, ("hw.unestimated", "a model whose size is not known", "none needed")),
)
_PERMISSION = (
    *_at(
        Place.PERMISSION,
        Severity.ERROR,
        ("auth.jobs", "a token that may not run jobs in the namespace", "the permission named"),
        ("auth.write", "a token that may not write to the output repository", "another output_repo"),
        ("auth.judge", "a judge without a token that may ask it, or without a network", "the permission named"),
        (
            "auth.local_code",
            "reward_code or a script on a machine whose operator has not allowed it",
            "TRL_MCP_ALLOW_LOCAL_CODE",
        ),
        ("tracking.secret", "a tracker whose key the operator has not given", "TRL_MCP_SECRETS"),
    ),
    *_at(
        Place.PERMISSION,
        Severity.WARNING,
        ("output.overwrite", "an output repository of another run or owner", "starting the plan agrees to it"),
    ),
)
_SCRIPTS = (
    *_at(
        Place.SCRIPTS,
        Severity.ERROR,
        ("auth.secret", "a secret that the operator does not hand on, or that is not set", "TRL_MCP_SECRETS"),
    ),
    *_at(
        Place.SCRIPTS,
        Severity.WARNING,
        ("script.syntax", "text that only a newer Python than the server's can read", "check it with that Python"),
        ("script.not_pushed", "a paid script whose result nobody keeps", 'secrets=["HF_TOKEN"] and a push'),
        ("script.one_process", "several GPUs for a script that is started as one process", "torchrun, or one GPU"),
        ("script.secrets", "secrets that a script from the web asks for", "name them, if it is to be trusted"),
        ("script.unused", "entries of [tool.hf-jobs] that play no part here", "see that the script can do without"),
    ),
    *_at(
        Place.SCRIPTS,
        Severity.INFO,
        ("script.table", "entries of [tool.hf-jobs] that the call did not give", "none needed"),
        ("script.unresolved", "packages that could not be resolved in time", "none: the job resolves them"),
    ),
)
_MONEY = _at(
    Place.MONEY,
    Severity.ERROR,
    ("money.cap", "a ceiling above max_cost_usd", "cheaper hardware or a shorter timeout"),
    ("money.limit", "a ceiling above TRL_MCP_MAX_USD_PER_JOB", "cheaper hardware or a shorter timeout"),
    ("money.day", "a ceiling above what is left of TRL_MCP_MAX_USD_PER_DAY", "the cheapest that passes is named"),
    ("money.confirm", "no consent of the person, where TRL_MCP_CONFIRM=elicit asks for it", "ask them"),
)
_CONVERSION = (
    *_at(
        Place.CONVERSION,
        Severity.ERROR,
        ("gguf.not_causal", "a model that writes no text", "a causal language model"),
        ("gguf.architecture", "an architecture that llama.cpp does not convert", "transformers or vLLM"),
        ("gguf.quantized", "a model in few bits", "the one in 16 bits"),
        ("gguf.adapter", "an adapter other than LoRA", "merge it first"),
        ("gguf.vocabulary", "more tokens than embeddings", "the tokenizer it was trained with"),
        ("gguf.room", "a machine without the room", "hardware=auto"),
    ),
    *_at(
        Place.CONVERSION,
        Severity.WARNING,
        ("gguf.text_only", "a model that also sees or hears", "none: only its text part is converted"),
    ),
)
_NOTES = _at(
    Place.ARGUMENTS,
    Severity.INFO,
    ("args.renamed", "an argument under another name", "none needed"),
    ("args.moved", "a trainer argument at top level", "none needed"),
    ("args.preset", "values that a preset has brought", "none needed"),
    ("args.config", "values that a TRL configuration file has brought", "none needed"),
    ("eval.hold_out", "an evaluation without a split", "none: rows are held out"),
    ("save.best", "load_best_model_at_end", "none: checkpoints follow the evaluations"),
)
_REWARDS = _at(
    Place.ARGUMENTS,
    Severity.WARNING,
    ("reward.boxed", "accuracy_reward without a prompt that asks for a boxed answer", "system_prompt"),
)
_JUDGES = (
    *_at(
        Place.JUDGES,
        Severity.ERROR,
        ("reward.judge_unserved", "a judge that no provider serves, or not the one named", "one that is served"),
    ),
    *_at(
        Place.JUDGES,
        Severity.INFO,
        ("reward.judge_unchecked", "a judge that the Hub could not be asked for", "none: the job asks it first"),
    ),
)
_SCRIPT = _at(
    Place.SCRIPT,
    Severity.ERROR,
    ("api.pins", "exact versions of everything a script needs", ""),
    ("model.dtype", "the type that weights are loaded in", ""),
    ("tmpl.pad_eos", "padding that leaves the end of sequence in the loss", ""),
    ("hw.multi_gpu", "one process per GPU", ""),
    ("hw.accel_cfg", "as many processes as there are GPUs", ""),
    ("pack.vlm_cp", "no packing of pictures", ""),
    ("save.hub", "the output repository is written to before training starts", ""),
    ("save.resume", "whole checkpoints every ten minutes, kept beyond the job", ""),
    ("trackio.private", "a Space that may be private", ""),
    ("trackio.project", "project, run name and Space in the trainer's config", ""),
    ("trackio.unique_run", "a run name per job", ""),
    ("cli.trl_jobs", "presets without what TRL no longer has", ""),
)
_ANSWER = _at(
    Place.ANSWER, Severity.ERROR, ("job.credits", "a namespace without credits", "add credits on the page named")
)

ELSEWHERE = (
    *_ARGUMENTS,
    *_HUB,
    *_DATA_ERRORS,
    *_DATA_WARNINGS,
    *_DATA_INFOS,
    *_TOKENS,
    *_REWARDS,
    *_JUDGES,
    *_NOTES,
    *_ESTIMATE,
    *_PERMISSION,
    *_MONEY,
    *_CONVERSION,
    *_SCRIPTS,
    *_SCRIPT,
    *_ANSWER,
)
