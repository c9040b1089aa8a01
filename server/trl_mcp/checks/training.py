"""Checks of the recipe: rates, steps, precision, secrets, time."""

import json
import math
from typing import cast

from trl_mcp.checks.check import Check, Fault, Gathered
from trl_mcp.data.checks import SECRET
from trl_mcp.estimate.machine import card_of
from trl_mcp.recipes.defaults import default
from trl_mcp.recipes.kernels import FLASH, attention
from trl_mcp.values import Severity

_FAR = 10.0
_TIMEOUT_BUFFER = 1.3
_NO_BF16 = ("T4", "V100", "P100")


def _rate(gathered: Gathered) -> tuple[float, float]:
    """Return the learning rate and the default of the method and tuning."""
    recipe = gathered.recipe
    usual = cast(float, default(recipe.method, recipe.tuning, "learning_rate").value)
    given = recipe.config.get("learning_rate", usual)
    return (float(given) if isinstance(given, int | float) else usual), usual


def adapter_rate(gathered: Gathered) -> Fault | None:
    """Find an adapter's learning rate far from the default, such as one meant for full fine-tuning."""
    return None if gathered.recipe.tuning == "full" else _far_rate(gathered, "an adapter")


def full_rate(gathered: Gathered) -> Fault | None:
    """Find a learning rate of full fine-tuning far from the default, such as one meant for an adapter."""
    return _far_rate(gathered, "full fine-tuning") if gathered.recipe.tuning == "full" else None


def _far_rate(gathered: Gathered, what: str) -> Fault | None:
    given, usual = _rate(gathered)
    times = given / usual
    if 1.001 / _FAR < times < 0.999 * _FAR:
        return None
    effect = "learns next to nothing" if times < 1 else "forgets or diverges"
    far = f"{1 / times:.3g} times below" if times < 1 else f"{times:.3g} times above"
    return Fault(
        f"learning_rate {given:g} is {far} the usual {usual:g} of {gathered.recipe.method} with {what}: it often {effect}.",
        f"Leave learning_rate out ({usual:g}), or check that it is meant.",
    )


def steps_of(gathered: Gathered) -> int | None:
    """Return the optimizer steps of the whole run, None where the rows are not known."""
    config, data = gathered.recipe.config, gathered.data
    given = config.get("max_steps")
    if isinstance(given, int) and given > 0:
        return given
    if not data.rows_kept or not (data.complete or data.rows_total):
        return None
    rows = data.rows_kept if data.complete else math.ceil(data.rows_kept / data.rows_checked * (data.rows_total or 0))
    return math.ceil(math.ceil(rows / gathered.recipe.batch_size) * cast(float, config.get("num_train_epochs", 1)))


def never_saved(gathered: Gathered) -> Fault | None:
    """Find settings under which no checkpoint is ever saved; left alone, one is saved every ten minutes."""
    config = gathered.recipe.config
    mend = "Leave save_strategy and save_steps out: a checkpoint is then saved every ten minutes."
    if config.get("save_strategy") == "no":
        return Fault("save_strategy=no keeps no checkpoint: a run that is stopped begins again at its start.", mend)
    every, steps = config.get("save_steps"), steps_of(gathered)
    if not isinstance(every, int | float) or every < 1 or steps is None or every < steps:
        return None
    return Fault(
        f"save_steps={every:g} is not reached: the run has {steps} steps, so no checkpoint is saved on the way.", mend
    )


def emulated_bf16(gathered: Gathered) -> Fault | None:
    """Find bf16 on a GPU that only emulates it."""
    flavor = gathered.flavor
    if not gathered.recipe.config.get("bf16") or flavor is None or flavor.accelerator not in _NO_BF16:
        return None
    return Fault(
        f"bf16=true on {flavor.name}: a {flavor.accelerator} only emulates bfloat16, many times slower than float16.",
        "Leave bf16 out (float16 is then used), or take a GPU from Ampere on, such as a10g-small or l4x1.",
    )


def idle_gpu(gathered: Gathered) -> Fault | None:
    """Find a paid GPU that the run is told not to use."""
    flavor = gathered.flavor
    if not gathered.recipe.config.get("use_cpu") or flavor is None or not flavor.gpu_count:
        return None
    return Fault(
        f"use_cpu=true trains on the processors of {flavor.name}, whose GPU is paid for and idle.",
        "Leave use_cpu out, or take a flavor without a GPU, such as cpu-upgrade.",
    )


def torn_documents(gathered: Gathered) -> Fault | None:
    """Find packing that lets rows see each other."""
    config = gathered.recipe.config
    if not config.get("packing") or config.get("packing_strategy") != "wrapped":
        return None
    return Fault(
        "packing_strategy=wrapped joins rows and cuts them anywhere: each sees what stands before it in its pack.",
        'Leave packing_strategy out, or give trainer_args=["packing_strategy=bfd_split"], which loses nothing either.',
    )


def slow_packing(gathered: Gathered) -> Fault | None:
    """Find packing with an attention that computes on all pairs of tokens of a pack."""
    config = gathered.recipe.config
    if not config.get("packing") or config.get("packing_strategy") == "wrapped" or "flash" in attention(config):
        return None
    return Fault(
        "Packed rows are kept apart by a mask over all pairs of tokens in a batch: right, but slower the longer packs are.",
        f'On GPUs from Ampere on, trainer_args=["attn_implementation={FLASH}"] computes on each row alone.',
    )


def unknown_kernels(gathered: Gathered) -> Fault | None:
    """Find kernels for attention that the GPU is too old for."""
    wanted, flavor = attention(gathered.recipe.config), gathered.flavor
    if "/" not in wanted or flavor is None or not (card := card_of(flavor)) or card.bf16:
        return None
    return Fault(
        f"attn_implementation={wanted} needs a GPU from Ampere on; on the {card.name} of {flavor.name} it is left out, "
        "and torch's own attention is used.",
        "Take such a GPU, as of a10g-small or l4x1, or leave attn_implementation out.",
    )


def new_tokens(gathered: Gathered) -> Fault | None:
    """Find a borrowed chat template with an adapter, which may have to carry new tokens."""
    recipe = gathered.recipe
    if recipe.tuning == "full" or "chat_template_path" not in recipe.config:
        return None
    return Fault(
        "Tokens of the borrowed chat template that the model lacks are trained beside the adapter, which grows by "
        "the whole output layer.",
        "Nothing needs doing; the family's own instruct model would not need it.",
    )


def inlined_secret(gathered: Gathered) -> Fault | None:
    """Find what looks like a token in what is written into the script."""
    recipe = gathered.recipe
    written = {
        "reward_code": recipe.reward_code or "",
        "system_prompt": recipe.system_prompt or "",
        "columns": json.dumps(recipe.columns),
        "trainer_args": json.dumps([recipe.config, recipe.lora], default=str),
        "judge_rubric": " ".join(reward.rubric or "" for reward in recipe.rewards),
    }
    names = [name for name, text in written.items() if SECRET.search(text)]
    if not names:
        return None
    return Fault(
        f"{' and '.join(names)} holds what looks like a key or token; scripts, logs and model repositories are read "
        "by others.",
        "Revoke it, take it out, and read it from the job's environment, where HF_TOKEN is already.",
    )


def too_short(gathered: Gathered) -> Fault | None:
    """Find a timeout that one run in ten or more would run into."""
    if gathered.timeout_s is None or gathered.expected_s is None or gathered.timeout_s >= gathered.expected_s[1]:
        return None
    return _short(gathered.timeout_s, gathered.expected_s)


def too_close(gathered: Gathered) -> Fault | None:
    """Find a timeout that leaves little room above what nine in ten runs take."""
    if too_short(gathered) or gathered.timeout_s is None or gathered.expected_s is None:
        return None
    if gathered.timeout_s >= gathered.expected_s[1] * _TIMEOUT_BUFFER:
        return None
    return _short(gathered.timeout_s, gathered.expected_s)


def _short(timeout_s: int, expected_s: tuple[float, float]) -> Fault:
    half, most = (math.ceil(seconds / 60) for seconds in expected_s)
    enough = math.ceil(expected_s[1] * _TIMEOUT_BUFFER / 60)
    return Fault(
        f"The timeout is {timeout_s / 60:.4g} min; half of such runs take {half} min, nine in ten less than {most} min.",
        f'Use timeout="{enough}m" or timeout="auto". A run that is stopped goes on from its checkpoint by start_job.',
    )


TRAINING_CHECKS = (
    Check(
        code="lora.lr",
        severity=Severity.WARNING,
        looks_for="an adapter's learning rate ten times or more above or below the default",
        why="Adapters learn at about ten times the rate of full fine-tuning; at that rate they learn next to nothing.",
        fix="Leave learning_rate out.",
        source="TRL documentation, PEFT integration",
        find=adapter_rate,
    ),
    Check(
        code="lr.range",
        severity=Severity.WARNING,
        looks_for="full fine-tuning at a learning rate ten times or more above or below the default",
        why="At an adapter's rate a whole model forgets or diverges.",
        fix="Leave learning_rate out.",
        source="TRL documentation, PEFT integration",
        find=full_rate,
    ),
    Check(
        code="lora.save_embeddings",
        severity=Severity.INFO,
        looks_for="a borrowed chat template with an adapter",
        why="New tokens make the adapter larger by the output layer.",
        fix="Train the family's instruct model.",
        source="sft_trainer.py, trl 1.16.0",
        find=new_tokens,
    ),
    Check(
        code="save.interval",
        severity=Severity.WARNING,
        looks_for="save settings under which no checkpoint is saved before the end",
        why="A run that is stopped would begin again at its start.",
        fix="Leave save_strategy and save_steps out.",
        source="CheckpointClock of the job, and transformers' save_steps",
        find=never_saved,
    ),
    Check(
        code="pack.attn",
        severity=Severity.WARNING,
        looks_for='packing_strategy="wrapped"',
        why="Rows see each other and are cut anywhere.",
        fix="Use bfd or bfd_split.",
        source="trl#1230, trl#3067; transformers masking_utils",
        find=torn_documents,
    ),
    Check(
        code="pack.mask",
        severity=Severity.INFO,
        looks_for="packing without flash attention",
        why="torch's own attention computes on all pairs of tokens of a batch, most of which are masked.",
        fix="attn_implementation=kernels-community/flash-attn2 on a GPU from Ampere on.",
        source="transformers 5.23.0, masking_utils; measured: a packed row's logits equal those of the row alone",
        find=slow_packing,
    ),
    Check(
        code="hw.kernels",
        severity=Severity.WARNING,
        looks_for="attention kernels on a GPU older than Ampere",
        why="They cannot run there; the job uses torch's own attention.",
        fix="Take a GPU from Ampere on.",
        source="FlashAttention 2: compute capability 8.0",
        find=unknown_kernels,
    ),
    Check(
        code="hw.bf16",
        severity=Severity.ERROR,
        looks_for="bf16=true on a GPU without bfloat16",
        why="It is emulated, many times slower, at the full price.",
        fix="Leave bf16 out.",
        source="torch.cuda.is_bf16_supported(including_emulation=False); compute capability below 8.0",
        find=emulated_bf16,
    ),
    Check(
        code="hw.use_cpu",
        severity=Severity.ERROR,
        looks_for="use_cpu=true on a flavor with a GPU",
        why="The GPU is paid for and idle.",
        fix="Leave use_cpu out.",
        source="TrainingArguments.use_cpu, transformers 5.23.0",
        find=idle_gpu,
    ),
    Check(
        code="job.timeout",
        severity=Severity.ERROR,
        looks_for="a timeout that one run in ten or more would run into",
        why="The job is stopped there, and what came after its last checkpoint is lost.",
        fix='Use timeout="auto".',
        source="the estimate; Hugging Face documentation, Jobs: timeouts",
        find=too_short,
    ),
    Check(
        code="job.margin",
        severity=Severity.WARNING,
        looks_for="a timeout less than 1.3 times what nine in ten runs take",
        why="Downloads and the push at the end vary.",
        fix='Use timeout="auto".',
        source="the estimate; TRL documentation, training with Jobs",
        find=too_close,
    ),
    Check(
        code="job.secret",
        severity=Severity.ERROR,
        looks_for="what looks like a key or token in the script",
        why="Scripts are kept in the model repository and shown by the Hub.",
        fix="Read it from the job's environment.",
        source="the patterns of the common kinds of keys",
        find=inlined_secret,
    ),
)
