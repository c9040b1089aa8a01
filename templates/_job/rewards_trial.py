"""A trial of the run's reward functions on real rows, in a process of its own, before any model is loaded."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

from _job.progress import report
from _job.rewards import reward_functions
from _job.rewards_code import RewardError, log_nothing, plain_texts
from _job.rewards_judge import JudgeReward, judge_messages
from _job.rewards_models import check_reward_model, reward_tokenizer
from _job.source import TrainingData

TRIAL_ROWS = 3
TRIAL_COLUMNS = 3
TRIAL_LOAD_S = 60
TRIAL_CALL_S = 10
TRIAL_KINDS = ("code", "trl")
# An unreadable answer may be an accident; so many are none.
TRIAL_JUDGED = 4
TRIAL_LENGTHS = (1, 10, 100)
LONG_REWARD = 10.0
TrialRow = tuple[dict[str, Any], str]


def try_rewards(run: dict[str, Any], data: TrainingData) -> None:
    """Call every reward function on rows of the data; end the job with what is wrong, warn of what teaches nothing."""
    for entry in run["rewards"]:
        if entry["kind"] == "model":
            check_reward_model(entry)
            check_conversation_template(entry, data)
        if entry["kind"] == "judge":
            try_judge(entry, data)
    tried = [entry for entry in run["rewards"] if entry["kind"] in TRIAL_KINDS]
    if tried:
        rows = trial_rows(data.train)
        scores = run_trial(run | {"rewards": tried}, trial_batch(rows))
        judge_scores(scores, rows)


def try_judge(entry: dict[str, Any], data: TrainingData) -> None:
    """Have a judge score a text of a real row; end the job with what it says where that is no score."""
    problem = ""
    try:
        judge = JudgeReward(entry)
        for row, completion in trial_rows(data.train)[1:TRIAL_JUDGED]:
            verdict = judge.ask(judge_messages(judge.rubric, row["prompt"], completion, row))
            if verdict.score is not None:
                return
            problem = verdict.problem
            if not verdict.is_read:
                break
    except RewardError as error:
        problem = str(error)
    raise SystemExit(problem)


def check_conversation_template(entry: dict[str, Any], data: TrainingData) -> None:
    """Refuse a reward model that cannot render the conversations it would have to judge."""
    if not isinstance(data.train[0]["prompt"], str) and not reward_tokenizer(entry).chat_template:
        raise SystemExit(
            f"reward model {entry['name']} has no chat template, and the prompts are conversations: "
            f"name a reward model that was trained on conversations"
        )


def trial_rows(dataset: Any) -> list[TrialRow]:
    """Return rows with a completion to try on each: what the row itself says, and some that are made up."""
    rows = [dataset[place] for place in range(min(TRIAL_ROWS, len(dataset)))]
    return [(row, completion) for row in rows for completion in trial_completions(row)]


def trial_completions(row: dict[str, Any]) -> list[str]:
    """Return completions from empty to long: the row's texts, plain, boxed and after a thought, and its prompt."""
    prompt = plain_texts([row["prompt"]])[0]
    texts = [value for name, value in row.items() if name != "prompt" and isinstance(value, str)][:TRIAL_COLUMNS]
    boxed = [f"\\boxed{{{text}}}" for text in texts]
    thoughts = [f"<think>\n{prompt}\n</think>\n{answer}" for answer in (boxed or [prompt])]
    return ["", *texts, *boxed, *thoughts, *(f"{prompt}\n" * times for times in TRIAL_LENGTHS)]


def trial_batch(rows: Sequence[TrialRow]) -> dict[str, Any]:
    """Return what a trainer would hand to a reward function for these completions, with bytes for token ids."""
    talks = not isinstance(rows[0][0]["prompt"], str)
    completions = [[{"role": "assistant", "content": text}] if talks else text for _, text in rows]
    columns = {name: [row[name] for row, _ in rows] for name in rows[0][0] if name not in ("prompt", "completion")}
    ids = [list(text.encode()) for _, text in rows]
    return {"prompts": [row["prompt"] for row, _ in rows], "completions": completions, "completion_ids": ids, **columns}


def run_trial(run: dict[str, Any], batch: dict[str, Any]) -> dict[str, list[float | None]]:
    """Return the scores by function; end the job where one fails, or does not come back in time."""
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe(duplex=False)
    needed = {name: run[name] for name in ("rewards", "reward_code", "config")}
    child = spawn.Process(target=serve_trial, args=(there, needed, batch), daemon=True)
    child.start()
    there.close()
    try:
        return dict(read_trial(here))
    finally:
        child.kill()
        child.join()
        here.close()


def read_trial(connection: Connection) -> Iterator[tuple[str, list[float | None]]]:
    """Yield the name and the scores of each function as the process answers."""
    names = ask_trial(connection, TRIAL_LOAD_S, "reward_code, run as a whole,")
    for name in names:
        yield name, ask_trial(connection, TRIAL_CALL_S, f"reward function {name}")


def ask_trial(connection: Connection, seconds: float, what: str) -> Any:
    """Return the next answer of the process, or end the job with why there is none."""
    if not connection.poll(seconds):
        raise SystemExit(f"{what} did not come to an end within {seconds} s on a few real rows: look for endless loops")
    try:
        problem, answer = connection.recv()
    except EOFError:
        raise SystemExit(f"{what} ended the whole process: it must return, neither exit nor crash") from None
    if problem:
        raise SystemExit(problem)
    return answer


def serve_trial(connection: Connection, run: dict[str, Any], batch: dict[str, Any]) -> None:
    """Answer with the functions' names, then with each one's scores; stop at the first failure."""
    if hasattr(signal, "alarm"):
        # Should the job be killed meanwhile, an endless loop must not outlive it.
        signal.alarm(TRIAL_LOAD_S + TRIAL_CALL_S * len(run["rewards"]))
    trainer = {"log_extra": log_nothing, "log_metric": log_nothing, "trainer_state": trial_state()}
    try:
        functions = reward_functions(run)
        connection.send((None, [function.__name__ for function in functions]))
        for function in functions:
            connection.send((None, function(**batch, **trainer)))
    except RewardError as error:
        connection.send((str(error), None))


def trial_state() -> SimpleNamespace:
    """Return what a function may read of a trainer that has not begun."""
    return SimpleNamespace(global_step=0, max_steps=1, epoch=0.0, num_train_epochs=1, log_history=[])


def judge_scores(scores: dict[str, list[float | None]], rows: Sequence[TrialRow]) -> None:
    """End the job if no completion got a score; warn of functions that are constant or grow without bound."""
    checks: dict[str, Callable[[list[float | None], Sequence[TrialRow]], str]] = {
        "reward_constant": describe_constant,
        "reward_unbounded": describe_growth,
    }
    if all(score is None for values in scores.values() for score in values):
        raise SystemExit(f"the reward functions ({', '.join(scores)}) gave None for all of {len(rows)} completions")
    for name, values in scores.items():
        for code, describe in checks.items():
            message = describe(values, rows)
            if message:
                report("warning", where="rewards", code=code, message=f"reward function {name} {message}")


def describe_constant(values: list[float | None], rows: Sequence[TrialRow]) -> str:
    """Say that every completion got the same score; nothing where some differ."""
    distinct = {value for value in values if value is not None}
    if len(distinct) > 1:
        return ""
    given = distinct.pop() if distinct else None
    return (
        f"gave {given} to each of {len(rows)} different completions: where all are alike there is nothing to learn; "
        f"see that it reads the completion"
    )


def describe_growth(values: list[float | None], rows: Sequence[TrialRow]) -> str:
    """Say that the score keeps growing with the length of the completion; nothing where it does not."""
    # The longest ones of the first row, as trial_completions ends with them.
    first = [value for value, (row, _) in zip(values, rows, strict=True) if row is rows[0][0]][-len(TRIAL_LENGTHS) :]
    if any(value is None for value in first):
        return ""
    short, medium, long = (abs(value or 0.0) for value in first)
    if long < LONG_REWARD or not short < medium < long:
        return ""
    return (
        f"has no bound: {first[0]:g} for a completion, {first[-1]:g} for one {TRIAL_LENGTHS[-1]} times as long; "
        f"a model learns to exploit that: let it level off"
    )
