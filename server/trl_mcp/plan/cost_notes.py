"""What estimates rest on, in words: what is trained, what was assumed, what would take less."""

from collections.abc import Mapping, Sequence

from trl_mcp.estimate.duration import SPREAD, Duration
from trl_mcp.estimate.options import Option
from trl_mcp.estimate.processors import NOTE
from trl_mcp.plan.timeouts import in_words
from trl_mcp.plan.workload import Workload
from trl_mcp.recipes.trainer_arguments import argument_table
from trl_mcp.values import Flavor


def course(work: Workload) -> str:
    """Return what is trained: the rows, their length and where they are cut, the steps."""
    job = work.job()
    answers = f", answers of up to {job.completion} tokens" if job.completion else ""
    rows = _count(job.rows, "row") if work.size.rows is not None else "an unknown number of rows"
    limit = work.recipe.config.get("max_length")
    cut = f" (cut at max_length {limit})" if isinstance(limit, int) and work.size.longest > limit else ""
    packed = f", packed into sequences of {job.longest}" if job.packing else ""
    often = "" if job.max_steps > 0 else f"{_count(job.epochs, 'epoch')}, "
    return (
        f"{rows} of {job.tokens_per_row:.0f} tokens in the mean and {job.longest} at most{cut}{answers}{packed}, {often}"
        f"batch_size {work.recipe.batch_size}: {_count(job.steps, 'step')}"
    )


def assumptions(work: Workload, found: Sequence[Option], flavors: Mapping[str, Flavor]) -> list[str]:
    """Return what the estimates rest on that was not measured, and what is known to take less time or to be wrong."""
    shape, job = work.shapes.model, work.job()
    notes = list(work.size.assumed)
    if shape.guessed:
        notes.append(f"the model's shape is guessed from {shape.parameters / 1e9:.2f} billion parameters")
    limit = work.recipe.config.get("max_length")
    if isinstance(limit, int) and 0 < shape.context < limit:
        notes.append(f"max_length {limit} is more than the model's context of {shape.context} tokens")
    notes += _timed(found)
    if not job.vllm and "use_vllm" in argument_table(work.method.config_name):
        notes.append(
            'Transformers writes the answers; on Ampere and later trainer_args=["use_vllm=true"] takes less time'
        )
    if any(not flavors[each.hardware].gpu_count and each.hours_low is not None for each in found):
        notes.append(NOTE)
    return notes


def _timed(found: Sequence[Option]) -> list[str]:
    first = next((each for each in found if each.possible and each.duration), None)
    if first is None or first.duration is None:
        return []
    return [f"beside the steps {first.tuning} on {first.hardware} takes {_beside(first.duration)}", SPREAD]


def _beside(taken: Duration) -> str:
    parts = {
        "start a container and install packages": taken.starting,
        "fetch and load models": taken.loading,
        "evaluate": taken.evaluating,
        "save checkpoints and push the result": taken.saving,
    }
    told = ", ".join(f"{in_words(seconds)} to {what}" for what, seconds in parts.items() if seconds)
    return f"{told} (rates assumed, not measured on Hugging Face Jobs)"


def _count(number: float, what: str) -> str:
    return f"{number:g} {what}" if number == 1 else f"{number:.15g} {what}s"
