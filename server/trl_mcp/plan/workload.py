"""What a recipe and its data amount to, as the estimates count it: rows, tokens, steps, what is held beside the model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from trl_mcp.data.tokens import LADDER
from trl_mcp.estimate.duration import Job
from trl_mcp.estimate.setup import ALL_LINEAR, EAGER_BY_DEFAULT, METHODS, Lora
from trl_mcp.plan.shapes import Shapes
from trl_mcp.recipes.batch import group_size
from trl_mcp.recipes.method import Method
from trl_mcp.recipes.methods import METHODS as RECIPES
from trl_mcp.recipes.recipe import Recipe
from trl_mcp.recipes.rules import ACCUMULATION, DEVICE_BATCH
from trl_mcp.recipes.trainer_arguments import argument_table
from trl_mcp.values import DataReport, Flavor, ModelShape

_FIXED = frozenset({DEVICE_BATCH, ACCUMULATION, "steps_per_generation", "generation_batch_size"})
_EMBEDDINGS = frozenset({"lm_head", "embed_tokens", "wte", "embed_in", "embed_out"})
#: Rows vary: the longest that counts is taken for so many times the mean. Without any count a row is taken for half of
#: max_length, a prompt for so many tokens.
_LONGEST_BY_MEAN = 2.5
_PROMPT_TOKENS = 256


@dataclass(frozen=True, slots=True)
class DataSize:
    """Rows (None: not known), the mean and the longest tokens of a sequence, and what of that was assumed.

    For a method that writes its own answers the tokens are those of the prompts.
    """

    rows: int | None
    mean: float
    longest: float
    assumed: tuple[str, ...] = ()


def stated_size(rows: int, tokens_per_row: float, recipe: Recipe) -> DataSize:
    """Return the size of data that was described instead of named: rows may be as long as a max_length that was given."""
    limit = recipe.config.get("max_length")
    if recipe.max_length_given and isinstance(limit, int) and limit > tokens_per_row:
        return DataSize(rows, tokens_per_row, limit, (f"rows of up to max_length, {limit} tokens",))
    note = f"rows of up to {_LONGEST_BY_MEAN:g} times tokens_per_row"
    return DataSize(rows, tokens_per_row, tokens_per_row * _LONGEST_BY_MEAN, (note,))


def measured_size(recipe: Recipe, data: DataReport) -> DataSize:
    """Return the size of data that was looked at; where tokens were not counted, what is assumed of them."""
    rows = _rows(data)
    tokens = data.tokens
    if tokens is not None and tokens.rows_measured and data.rows_kept:
        sequences = METHODS[recipe.method].sequences
        return DataSize(rows, max(1.0, tokens.total / data.rows_kept / sequences), tokens.longest)
    assumed = () if rows is not None else ("the number of rows is not known",)
    limit = recipe.config.get("max_length")
    if isinstance(limit, int):
        return DataSize(rows, limit / 2, limit, (*assumed, "tokens not counted: half of max_length a row"))
    note = f"tokens not counted: {_PROMPT_TOKENS} a prompt"
    return DataSize(rows, _PROMPT_TOKENS, _PROMPT_TOKENS * _LONGEST_BY_MEAN, (*assumed, note))


def _rows(data: DataReport) -> int | None:
    if not data.rows_checked:
        return data.rows_total
    if data.complete or data.rows_total is None:
        return data.rows_kept
    return round(data.rows_total * data.rows_kept / data.rows_checked)


def fitting_length(size: DataSize, context: int) -> int:
    """Return the max_length that rows of this size would be given, never above the model's context."""
    fitting = next((length for length in LADDER if length >= size.longest), LADDER[-1])
    return min(fitting, context) if context else fitting


@dataclass(frozen=True, slots=True)
class Workload:
    """A training, ready to be weighed on machines: the recipe, the models, the size of the data."""

    recipe: Recipe
    shapes: Shapes
    size: DataSize

    @property
    def method(self) -> Method:
        """The method as recipes know it."""
        return RECIPES[self.recipe.method]

    def given_split(self, gpus: int) -> tuple[int, int] | None:
        """Return device batch and accumulation where the caller has split the batch, which memory then does not.

        Where one of the two was given the other is what makes batch_size over all GPUs, as far as that divides.
        """
        given = _FIXED.intersection(cast(Mapping[str, object], self.recipe.identity["config"]))
        if not given:
            return None
        device, steps = (cast(int, self.recipe.config[name]) for name in (DEVICE_BATCH, ACCUMULATION))
        if ACCUMULATION not in given and steps % gpus == 0:
            return device, steps // gpus
        return (device // gpus, steps) if DEVICE_BATCH not in given and device % gpus == 0 else (device, steps)

    def job(self, gpus: int = 1, device_batch: int = 0) -> Job:
        """Return the training as the estimates see it on so many GPUs; device batch 0: as memory allows."""
        config, read = self.recipe.config, self._read
        rows, held_out = self._parts()
        mean, longest = self._tokens()
        asked = Job(
            method=self.recipe.method,
            rows=rows,
            tokens_per_row=mean,
            longest=longest,
            batch_size=self.recipe.batch_size,
            epochs=cast(float, read("num_train_epochs") or 1.0),
            max_steps=cast(int, read("max_steps") or 0),
            packing=bool(read("packing")),
            lora=_lora(self.recipe.lora or {}, self.shapes.model),
            optimizer=str(read("optim") or "adamw_torch_fused"),
            checkpointing=read("gradient_checkpointing") is not False and read("activation_checkpointing") is not False,
            attention=_attention(config, self.shapes.model),
            liger=bool(read("use_liger_kernel")),
            strategy=self.recipe.strategy or "",
            vllm=bool(read("use_vllm")),
            vllm_share=cast(float, read("vllm_gpu_memory_utilization") or 0.0),
            device_batch=device_batch,
            dtype=_dtype(config, self.recipe.tuning),
            eval_rows=held_out,
            generations=cast(int, read("num_generations") or 8),
            completion=self._completion(),
            reference=self._reference(),
            frozen=self.shapes.frozen,
            judges=sum(reward.kind == "judge" for reward in self.recipe.rewards),
            merge=self.recipe.merge,
        )
        if split := self.given_split(gpus):
            rows = split[0] * split[1] * gpus // group_size(self.method, config)
            asked = replace(asked, device_batch=split[0], batch_size=max(1, rows))
        asked = replace(asked, evaluations=self._evaluations(asked))
        return replace(asked, checkpoints=self._checkpoints(asked), save_only_model=bool(read("save_only_model")))

    def _read(self, name: str) -> object:
        """Return a field of the trainer's config, its default where nobody set it."""
        table = argument_table(self.method.config_name)
        given = self.recipe.config.get(name)
        return given if given is not None else table[name].default if name in table else None

    def _parts(self) -> tuple[int, int]:
        """Return the rows to train on and those held out."""
        rows, share = self.size.rows or 1, self.recipe.eval_split
        held_out = math.ceil(rows * share) if isinstance(share, float) else 0
        return max(1, rows - held_out), held_out

    def _completion(self) -> int:
        name = self.method.answer_length
        return cast(int, self._read(name) or 256) if name else 0

    def _tokens(self) -> tuple[float, int]:
        """Return the mean and the longest tokens of a sequence with its answer, as they are cut."""
        limit = self.recipe.config.get("max_length")
        most = limit if isinstance(limit, int) else math.inf
        # gkd's rows bring their answers; those that it writes are of the same length at most.
        answer = 0 if self.recipe.method == "gkd" else self._completion()
        longest = max(1, int(min(most, self.size.longest + answer)))
        if self._read("packing") and isinstance(limit, int):
            longest = limit
        return min(self.size.mean + answer, longest), longest

    def _reference(self) -> bool | None:
        """Return whether a frozen copy is held; None: as the method does."""
        if self._read("precompute_ref_log_probs"):
            return False
        return bool(self._read("beta")) if self.recipe.method in {"grpo", "rloo"} else None

    def _evaluations(self, asked: Job) -> int:
        strategy = str(self._read("eval_strategy") or "no")
        if strategy == "epoch":
            return math.ceil(asked.epochs)
        if strategy != "steps":
            return 0
        return _times(asked, cast(float, self._read("eval_steps") or self._read("logging_steps") or 10))

    def _checkpoints(self, asked: Job) -> int | None:
        """Return how many checkpoints the arguments ask for; None where the job's clock decides."""
        config = self.recipe.config
        if not {"save_strategy", "save_steps"} & config.keys():
            return None
        strategy = str(self._read("save_strategy") or "steps")
        if strategy == "no":
            return 0
        if strategy == "best":
            return asked.evaluations
        if strategy == "epoch":
            return math.ceil(asked.epochs)
        return _times(asked, cast(float, self._read("save_steps") or 500))


def _times(asked: Job, every: float) -> int:
    """Return how often something comes that is done every so many steps, or below 1 each such share of them."""
    return int(1 / every) if every < 1 else int(asked.steps // every)


def _lora(config: Mapping[str, object], shape: ModelShape) -> Lora:
    saved = cast(list[object], config.get("modules_to_save") or [])
    return Lora(
        rank=cast(int, config.get("r", 16)),
        targets=_targets(config.get("target_modules")),
        dora=bool(config.get("use_dora")),
        dropout=bool(config.get("lora_dropout")),
        whole=shape.embedding * len(_EMBEDDINGS.intersection(map(str, saved))),
    )


def _targets(named: object) -> frozenset[str]:
    """Return what an adapter is put on; names of other families count as all, which is the most it can be."""
    if not isinstance(named, list):
        return ALL_LINEAR
    names = frozenset(str(name).rpartition(".")[2] for name in cast(list[object], named))
    return ALL_LINEAR if names - ALL_LINEAR else names


def _attention(config: Mapping[str, object], shape: ModelShape) -> str:
    loading = config.get("model_init_kwargs")
    named = str(cast(Mapping[str, object], loading).get("attn_implementation", "")) if isinstance(loading, dict) else ""
    if "flash" in named:
        return "flash"
    if named in {"eager", "sdpa"}:
        return named
    return "eager" if shape.model_type in EAGER_BY_DEFAULT else "sdpa"


def _dtype(config: Mapping[str, object], tuning: str) -> str:
    """Return the type that weights are loaded in where the caller decides it; empty: as the card has it."""
    if config.get("fp16"):
        return "float32" if tuning == "full" else "float16"
    return "float32" if config.get("bf16") is False else ""


def used_part(flavor: Flavor, strategy: str | None) -> Flavor:
    """Return the part of a machine that a strategy uses: one GPU of several, at the price of all."""
    if flavor.gpu_count < 2 or strategy != "single_gpu":
        return flavor
    return replace(flavor, gpu_count=1, vram_gb=flavor.vram_gb / flavor.gpu_count)
