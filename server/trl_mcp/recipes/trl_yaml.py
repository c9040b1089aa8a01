"""A configuration file of TRL's command line (`trl sft --config ...`): what its entries mean here."""

import json
from collections.abc import Iterable, Mapping
from typing import cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.methods import METHODS
from trl_mcp.recipes.names import CONFIG, LAUNCHER, LAUNCHER_PREFIXES, OWNED, REMOVED, TOOL_ARGUMENTS
from trl_mcp.recipes.ready_made import Brought, today
from trl_mcp.recipes.rules import ACCUMULATION, DEVICE_BATCH
from trl_mcp.recipes.trainer_arguments import (
    ArgumentField,
    argument_table,
    check_trainer_arguments,
    methods_with,
    read_value,
)
from trl_mcp.recipes.wishes import take_wishes
from trl_mcp.schema import did_you_mean, shorten

MOST_BYTES = 100_000
_DEEPEST = 20
_TRL_DROPOUT = 0.05  # lora_dropout of ModelConfig in trl 1.16.0
_NOTHING_STARTED = "Nothing was started."
_TEXT = (
    "It is the text of a configuration file of TRL (YAML, a line such as learning_rate: 2.0e-5 for each value), or an "
    "https URL of one."
)
# Entries that mean nothing here, whatever they say.
_IDLE = frozenset(
    {"dataset_streaming", "streaming", "ignore_bias_buffers", "bnb_4bit_quant_type", "use_bnb_nested_quant"}
    | {"bnb_4bit_quant_storage", "overwrite_output_dir", "logging_dir", "save_safetensors", "dataset_batch_size"}
    | {"dtype", "torch_dtype", "log_level", "log_level_replica", "lora_task_type", CONFIG}
)
# Entries that the server owns or that TRL's trainers no longer have, and that are read here.
_READ_HERE = frozenset(
    {"reward_model_name_or_path", "reward_weights", "reward_funcs", "dataset_text_field", "teacher_model_revision"}
    | {"reward_model_path", "use_peft", "load_in_4bit", "load_in_8bit"}
)
# Entries that the server owns and that say how to train: leaving them out would train otherwise.
_DECIDING = frozenset(
    {"batch_size", "micro_batch_size", "local_batch_size", "mini_batch_size", "local_mini_batch_size", "sft_model_path"}
    | {"num_total_batches", "total_episodes", "trust_remote_code"}
)
_EVALUATED_ON = ("test_split_size", "dataset_test_split")
_WISHES = ("report_to", "strategy")
# The other entries that TRL's command line has beside the fields of the trainer and of LoraConfig.
_OF_TRL = frozenset(
    {"model_name_or_path", "model_revision", "attn_implementation", "dataset_name", "dataset_config", "datasets"}
    | {"dataset_train_split", "accelerate_config", *_EVALUATED_ON, *_WISHES, *_READ_HERE}
)

Entries = dict[str, object]


def read_config(source: object) -> Entries:
    """Return the entries of a configuration file by name.

    Raises InvalidArguments for what is no YAML (with the line), no mapping of names, or larger than `MOST_BYTES`.
    """
    read = _parsed(source) if isinstance(source, str) else source
    if not read or not isinstance(read, dict):
        raise _unreadable(f"config is no mapping of names to values, but {_kind(read)}")
    odd = [name for name in cast(dict[object, object], read) if not isinstance(name, str)]
    if odd:
        raise _unreadable(f"config names {shorten(odd[0])}, which is no name but {_kind(odd[0])}")
    try:
        # A date is the text that was written.
        return cast(Entries, json.loads(json.dumps(read, default=str)))
    except TypeError as error:
        raise _unreadable(f"config holds what no argument can be: {error}") from None


def _parsed(text: str) -> object:
    if len(text.encode("utf-8", "replace")) > MOST_BYTES:
        raise _unreadable(f"config is larger than {MOST_BYTES:,} bytes")
    import yaml

    try:
        _check_shape(text)
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        what = f"config is no valid YAML{line}: {error.problem or error.context}"
    except (yaml.YAMLError, ValueError) as error:
        what = f"config is no valid YAML: {shorten(str(error) or type(error).__name__)}"
    raise _unreadable(what)


def _check_shape(text: str) -> None:
    """Refuse what would take long to read, or grow when it is written out."""
    import yaml

    depth = 0
    for event in cast(Iterable[object], yaml.parse(text)):  # pyright: ignore[reportUnknownMemberType] # in its stub
        if isinstance(event, yaml.AliasEvent):
            raise InvalidArguments(
                "config has an alias (*name).",
                next_step=f"Write its value out where it is used. {_NOTHING_STARTED}",
            )
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _unreadable("config is nested too deep")


def _unreadable(what: str) -> InvalidArguments:
    return InvalidArguments(f"{what}.", allowed=_TEXT, next_step=_NOTHING_STARTED)


def _kind(value: object) -> str:
    names = {"str": "a text", "list": "a list", "bool": "true or false", "int": "a number", "float": "a number"}
    name = type(value).__name__
    return names.get(name, f"a {name}") if value else "empty"


def from_config(entries: Entries, given: Mapping[str, object]) -> Brought:
    """Return what the entries of a configuration file bring to a call.

    `given` are the arguments that the call gives; its method says what the entries may be. Raises InvalidArguments for
    an entry that TRL does not have, and for what cannot be done here.
    """
    reading = _Reading(dict(entries), given)
    try:
        reading.check_names()
        arguments = {**reading.tuning(), **reading.dataset(), **reading.rewards(), **reading.evaluation()}
        completed = reading.references()
        arguments |= reading.tool_arguments()
        fields = reading.fields()
        check_trainer_arguments(reading.method.config_name, take_wishes(fields).trainer_args)
    except InvalidArguments as error:
        way_on = error.next_step.removesuffix(_NOTHING_STARTED).strip()
        next_step = f"{way_on} {_NOTHING_STARTED}".strip()
        raise InvalidArguments(f"config: {error.what}", allowed=error.allowed, next_step=next_step) from None
    return Brought("args.config", "config", arguments, fields, completed, reading.remarks())


class _Reading:
    """The entries of one file: each reader takes out what it understands; what is set aside is told."""

    def __init__(self, left: Entries, given: Mapping[str, object]) -> None:
        self._left = left
        self._given = given
        self.method = METHODS[str(given["method"])]
        self._table = argument_table(self.method.config_name)
        self._lora = argument_table("LoraConfig")
        self._unused: list[str] = []
        self._other: list[str] = []
        for name in [name for name, value in left.items() if self._is_unused(name, value)]:
            self._set_aside(name)

    def _is_unused(self, name: str, value: object) -> bool:
        """Tell whether an entry is the launcher's or the server's, or means nothing here."""
        if name in _READ_HERE:
            return False
        if name in _IDLE or (name in OWNED and name not in _DECIDING):
            return True
        if name in REMOVED or name in _DECIDING:
            return value is None or value is False
        return name not in self._table and (name in LAUNCHER or name.startswith(LAUNCHER_PREFIXES))

    def check_names(self) -> None:
        """Raise InvalidArguments for an entry that no config of TRL has; one of another method is told later."""
        known = [*self._table, *self._lora, *TOOL_ARGUMENTS, *REMOVED, *_OF_TRL, *_DECIDING]
        unknown = [name for name in self._left if today(name) not in known and not methods_with(today(name))]
        if unknown:
            raise InvalidArguments(
                f'TRL has no entry "{shorten(unknown[0])}".{did_you_mean(unknown[0], known)}',
                next_step=f"Mend it or leave it out. {_NOTHING_STARTED}",
            )

    def _set_aside(self, *names: str) -> None:
        for name in names:
            if self._left.pop(name, None) is not None:
                self._unused.append(name)

    def _flag(self, name: str) -> bool | None:
        value = self._left.pop(name, None)
        return None if value is None else cast(bool, read_value(ArgumentField(name, ("bool",)), value))

    def tuning(self) -> Entries:
        """Read use_peft, load_in_4bit and the fields of the adapter; those mean nothing where none is trained."""
        adapter, four_bits = self._flag("use_peft"), self._flag("load_in_4bit")
        if self._flag("load_in_8bit"):
            raise InvalidArguments("load_in_8bit is not possible.", next_step=REMOVED["load_in_8bit"])
        of_adapter = [name for name in self._left if today(name) in self._lora and today(name) not in self._table]
        adapter = bool(of_adapter) if adapter is None else adapter
        here = "qlora" if four_bits else "lora" if adapter else "full"
        if self._given.get("tuning", here) == "full":
            self._set_aside(*of_adapter)
        elif here != "full":
            self._left.setdefault("lora_dropout", _TRL_DROPOUT)
        targets = self._left.get("lora_target_modules")
        if isinstance(targets, list) and len(cast(list[object], targets)) == 1:
            self._left["lora_target_modules"] = cast(list[object], targets)[0]
        return {"tuning": here}

    def dataset(self) -> Entries:
        """Read the split, and the one data set of a mixture into the entries that name a data set."""
        mixture = self._left.pop("datasets", None)
        if mixture is not None:
            self._left |= _only_one(mixture)
        column = self._left.pop("dataset_text_field", None)
        return {} if column in (None, "text") else {"columns": {"text": str(column)}}

    def references(self) -> Entries:
        """Return model and data set of the call, completed by the revision and config of the same ones in the file."""
        model = self._named("model", "model_name_or_path", "model_revision", "@")
        return model | self._named("dataset", "dataset_name", "dataset_config", ":")

    def _named(self, argument: str, name: str, detail: str, mark: str) -> Entries:
        own, said, more = self._given.get(argument), self._left.pop(name, None), self._left.pop(detail, None)
        whole = f"{said}{mark}{more}" if more else said
        if own is None:
            return {argument: whole} if said and "rows" not in self._given else {}
        if own == said:
            return {argument: whole} if more else {}
        if said is not None and str(own).partition("@")[0].partition(":")[0] != said:
            self._other.append(f"{argument} stays {shorten(own)}: config names {shorten(whole)}")
        elif more is not None:
            self._unused.append(detail)
        return {}

    def rewards(self) -> Entries:
        """Read the rewards, in the order of TRL's scripts: the reward model comes first."""
        sources = ("reward_model_name_or_path", "reward_model_path", "reward_funcs")
        names = [name for source in sources for name in _texts(self._left.pop(source, None))]
        weights = _texts(self._left.pop("reward_weights", None))
        if weights and len(weights) != len(names):
            raise InvalidArguments(
                f"reward_weights has {len(weights)} entries and there are {len(names)} rewards.",
                next_step=f"Give each reward one. {_NOTHING_STARTED}",
            )
        weighed = [f"{name}:{weight}" for name, weight in zip(names, weights, strict=True)] if weights else names
        return {"rewards": weighed} if weighed else {}

    def evaluation(self) -> Entries:
        """Read what is evaluated on, where something is."""
        share, split = self._left.get("test_split_size"), self._left.get("dataset_test_split")
        own = cast(Mapping[str, object], self._given.get("trainer_args", {}))
        strategy = own.get("eval_strategy", self._left.get("eval_strategy"))
        if self._left.get("eval_strategy") in ("no", False):  # YAML reads a bare no as false
            self._left.pop("eval_strategy")
        if strategy in (None, "no", False):
            self._set_aside("test_split_size", "dataset_test_split")
            return {}
        self._left = {name: value for name, value in self._left.items() if name not in _EVALUATED_ON}
        found = split if share is None else share
        return {} if found is None else {"eval_split": str(found)}

    def tool_arguments(self) -> Entries:
        """Read the entries that are arguments of the tool under another name."""
        found: Entries = {}
        for name in [name for name in self._left if today(name) in TOOL_ARGUMENTS]:
            value = self._left.pop(name)
            if value is None:
                self._unused.append(name)
            else:
                self._put(found, TOOL_ARGUMENTS[today(name)], value)
        return found

    @staticmethod
    def _put(found: Entries, name: str, value: object) -> None:
        if found.setdefault(name, value) != value:
            raise InvalidArguments(
                f"it gives {name} twice, as {shorten(found[name])} and {shorten(value)}.",
                next_step=f"Give it once. {_NOTHING_STARTED}",
            )

    def fields(self) -> Entries:
        """Return what is left: fields of the trainer and of the adapter, and how the model is loaded and spread."""
        self._take_strategy()
        self._take_teacher()
        if DEVICE_BATCH in self._left or ACCUMULATION in self._left:
            for name in (DEVICE_BATCH, ACCUMULATION):
                self._left.setdefault(name, self._table[name].default)
        for name, value in self._left.items():
            field = self._table.get(name)
            if value is False and field is not None and "no" in field.choices:
                self._left[name] = "no"
        return {name: value for name, value in self._left.items() if value is not None or name in self._table}

    def _take_strategy(self) -> None:
        named = self._left.pop("accelerate_config", None)
        if isinstance(named, str) and named.isidentifier():
            self._left.setdefault("strategy", named)
        elif named is not None:
            self._unused.append("accelerate_config")

    def _take_teacher(self) -> None:
        teacher, revision = "teacher_model_name_or_path", self._left.pop("teacher_model_revision", None)
        if revision is not None and isinstance(name := self._left.get(teacher), str):
            self._left[teacher] = f"{name}@{revision}"

    def remarks(self) -> tuple[str, ...]:
        """Return what is to be said of entries that were not taken."""
        unused = f"Not used of config: {', '.join(self._unused)}." if self._unused else ""
        return tuple(text for text in (unused, *(f"{words}." for words in self._other)) if text)


def _only_one(mixture: object) -> Entries:
    """Return the one data set of a mixture by the names of the entries that name a single one."""
    listed = cast(list[object], mixture) if isinstance(mixture, list) else [mixture]
    named = [cast(Entries, entry) for entry in listed if isinstance(entry, dict) and "path" in entry]
    if len(named) != len(listed):
        raise InvalidArguments(
            "datasets is no list of entries with a path.", next_step=f"Give the argument dataset. {_NOTHING_STARTED}"
        )
    if len(named) != 1:
        raise InvalidArguments(
            f"datasets names {len(named)} data sets: {', '.join(shorten(entry['path']) for entry in named)}.",
            allowed="A training reads one.",
            next_step=f"Join them into one data set. {_NOTHING_STARTED}",
        )
    names = {"path": "dataset_name", "name": "dataset_config", "split": "dataset_train_split"}
    return {entry: named[0][name] for name, entry in names.items() if name in named[0]}


def _texts(value: object) -> list[str]:
    """Return a list of texts that may be written as one text, with commas between."""
    if value is None:
        return []
    items = cast(list[object], value) if isinstance(value, list) else str(value).split(",")
    return [str(item).strip() for item in items]
