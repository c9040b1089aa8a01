"""The teacher of a distillation: a model with the student's vocabulary, from which the student learns."""

from typing import Any

from _job.device import TrainingDevice
from _job.frozen_models import frozen_config, load_frozen


def load_teacher(run: dict[str, Any], device: TrainingDevice) -> Any:
    """Return the run's teacher, ready to be asked."""
    from transformers import AutoModelForCausalLM

    name, revision, loading = teacher_reference(run)
    fields = {"dtype": device.half_precision or "float32", **loading}
    return load_frozen(AutoModelForCausalLM, name, revision, **fields)


def teacher_reference(run: dict[str, Any]) -> tuple[str, str | None, dict[str, Any]]:
    """Return the teacher's Hub id or folder, its revision, and how else it is to be loaded."""
    config = run["config"]
    name = config.get("teacher_model_name_or_path")
    if not name:
        raise SystemExit("no teacher: name a model with the student's vocabulary as teacher_model_name_or_path")
    loading = dict(config.get("teacher_model_init_kwargs") or {})
    return name, loading.pop("revision", config.get("teacher_model_revision")), loading


def without_teacher(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the trainer's fields without those that say how to load a teacher: it is handed one."""
    spoken_for = {"teacher_model_name_or_path", "teacher_model_revision", "teacher_model_init_kwargs"}
    return {name: value for name, value in fields.items() if name not in spoken_for}


def check_teacher(run: dict[str, Any]) -> None:
    """Refuse a teacher with another vocabulary than the student, before either is loaded."""
    name, revision, _ = teacher_reference(run)
    sizes = [
        frozen_config(*where).get_text_config().vocab_size
        for where in ((run["model"], run["model_revision"]), (name, revision))
    ]
    if sizes[0] != sizes[1]:
        raise SystemExit(
            f"{name} cannot teach {run['model']}: the student's vocabulary has {sizes[0]} tokens, the teacher's "
            f"{sizes[1]}; take a teacher of the student's family with the same vocab_size in its config.json"
        )
    different = different_tokens(run["model"], run["model_revision"], name, revision)
    if different:
        raise SystemExit(
            f"{name} cannot teach {run['model']}: {len(different)} tokens that both know have different numbers, "
            f"among them {different[0]!r}; take a teacher with the student's tokenizer"
        )


def different_tokens(student: str, student_revision: str | None, teacher: str, revision: str | None) -> list[str]:
    """List the tokens that two tokenizers number differently."""
    from transformers import AutoTokenizer

    known = AutoTokenizer.from_pretrained(student, revision=student_revision).get_vocab()
    taught = AutoTokenizer.from_pretrained(teacher, revision=revision).get_vocab()
    return sorted(token for token in known.keys() & taught.keys() if known[token] != taught[token])
