"""Why a job ended in ERROR, where that is certain, and the call that mends it."""

from collections.abc import Callable
from dataclasses import dataclass

from trl_mcp.backends.base import Job, Stage
from trl_mcp.monitor.masking import clean_line
from trl_mcp.monitor.progress import Progress
from trl_mcp.monitor.trainer_lines import is_script
from trl_mcp.values import ToolName, call


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What ended a job: a code, the cause in words, the line that shows it, and what to do."""

    code: str
    cause: str
    evidence: str
    fix: str


@dataclass(frozen=True, slots=True)
class _Cause:
    code: str
    words: tuple[str, ...]
    cause: str
    fix: Callable[[Job], str]


def continue_call(job: Job) -> str:
    """Return the call that goes on with a job; of a script also that it begins anew."""
    return call(ToolName.START_JOB, id=job.id) + _again(job)


def _again(job: Job) -> str:
    return " (a script starts again from its beginning)" if is_script(job) else ""


def _continue_longer(job: Job) -> str:
    minutes = max(1, 2 * (job.timeout_s or 1800) // 60)
    return call(ToolName.START_JOB, id=job.id, timeout=f"{minutes}m") + _again(job)


def _continue_smaller(job: Job) -> str:
    if is_script(job):
        return "Submit the script again with smaller batches (script_args), or on hardware with more memory"
    return f'{ToolName.START_JOB}(id="{job.id}", trainer_args=["per_device_train_batch_size=1"])'


def _free_disk(job: Job) -> str:
    return f"Free some disk space, then {continue_call(job)}"


def _with_new_token(job: Job) -> str:
    return f"Set an HF_TOKEN that may write to {job.output_repo or 'the output repository'}, then {continue_call(job)}"


def _elsewhere(job: Job) -> str:
    return f"Submit the training with another output_repo than {job.output_repo or 'this'}: {ToolName.SUBMIT_TRAINING}"


def _with_credits(job: Job) -> str:
    return f"Add credits for {job.namespace}, then {continue_call(job)}"


def _read_log(job: Job) -> str:
    return call(ToolName.JOB_LOGS, job_id=job.id, show="errors")


def _after_reading(what: str) -> Callable[[Job], str]:
    """Return what tells to do something, and how to see what happened."""
    return lambda job: f"{what}; {_read_log(job)} shows what happened"


def _with_network(job: Job) -> str:
    return f"Unset HF_HUB_OFFLINE or download what it needs, then {continue_call(job)}; or name folders on this machine"


def _on_processors(_: Job) -> str:
    return 'Submit the script again with script_args that keep it off the GPU: for TRL\'s own "--use_cpu", "true"'


# How a job's message begins that speaks of the user's own rewards.
_OF_REWARDS = (
    "reward function ",
    "the reward functions (",
    "reward_code cannot be run",
    "reward_code, run as a whole,",
)
# The first that fits is taken: the surest signs stand first.
_CAUSES = (
    _Cause("timeout", ("job timeout",), "The job ran into its timeout.", _continue_longer),
    _Cause("disk_full", ("no space left on device",), "The disk was full.", _free_disk),
    _Cause(
        "out_of_memory",
        ("out of memory", "outofmemoryerror", "cannot allocate memory"),
        "The device's memory was not enough for a batch.",
        _continue_smaller,
    ),
    _Cause(
        "no_credits",
        ("credit balance is insufficient", "out of credits", "402 payment required"),
        "There were no credits left to pay with.",
        _with_credits,
    ),
    _Cause(
        "overwrite",
        ("holds files that are not of this run",),
        "The output repository holds what another run or a person put there.",
        _elsewhere,
    ),
    _Cause(
        "push",
        ("the model could not be pushed",),
        "The model was trained but not brought to the Hub; going on with the run pushes it again.",
        continue_call,
    ),
    _Cause(
        "access",
        ("the result could not be pushed",),
        "The job could not write to its output repository, and stopped before it trained.",
        _with_new_token,
    ),
    _Cause("no_rows", ("can be trained on",), "No row of the data could be used.", _read_log),
    _Cause("judge", ("judge:",), "A judge could not be asked, or gave no scores.", continue_call),
    _Cause(
        "reward",
        _OF_REWARDS,
        "A reward could not be used.",
        _after_reading(f"Correct the reward and call {ToolName.SUBMIT_TRAINING} again"),
    ),
    _Cause("environment", ("environment could not be made",), "The packages could not be installed.", _read_log),
    _Cause(
        "hub_unreachable",
        ("couldn't connect to 'https://huggingface.co'", "localentrynotfounderror", "offlinemodeisenabled"),
        "The job could not reach the Hub, and what it needs is not on this machine.",
        _with_network,
    ),
    _Cause("supervisor_lost", ("supervisor ended",), "The run was cut off from outside.", continue_call),
    _Cause(
        "killed", ("signal 9",), "The job was killed from outside: by a person, or for want of memory.", continue_call
    ),
)


# What a caller's own script is most often stopped by.
_CAUSES_OF_SCRIPTS = (
    _Cause(
        "module_missing",
        ("modulenotfounderror", "no module named"),
        "The script imports a package that its environment does not have.",
        _after_reading('Submit the script again with dependencies=["<the package>"]'),
    ),
    _Cause(
        "arguments",
        ("error: unrecognized arguments", "error: the following arguments are required", "error: argument "),
        "The script does not take its arguments.",
        _after_reading("Submit the script again with other script_args"),
    ),
    _Cause(
        "no_gpu",
        ("you need to assign use_cpu", "doesn't support bf16/gpu", "found no nvidia driver"),
        "The script wants a GPU, and there is none.",
        _on_processors,
    ),
    _Cause(
        "file_missing",
        ("couldn't find any data file", "filenotfounderror", "no such file or directory"),
        "The script reads a file that is not there, or that it cannot read.",
        _after_reading("Name files by absolute path, and data in a form that it reads"),
    ),
)


def diagnose(job: Job, progress: Progress, last_lines: list[str]) -> Diagnosis | None:
    """Return what ended a job in ERROR; with an unknown cause the code is "failed". None for any other stage."""
    if job.stage is not Stage.ERROR:
        return None
    signs = [clean_line(sign) for sign in (job.message, progress.error, *reversed(last_lines))]
    for cause in (*_CAUSES, *(_CAUSES_OF_SCRIPTS if is_script(job) else ())):
        for sign in signs:
            if any(word in sign.lower() for word in cause.words):
                return Diagnosis(cause.code, cause.cause, sign[:300], cause.fix(job))
    evidence = signs[1] or next((line for line in signs[2:] if "Error" in line), signs[0])
    what = "The script ended with an error of its own." if is_script(job) else "The job ended with an error."
    return Diagnosis("failed", what, evidence[:300], _read_log(job))
