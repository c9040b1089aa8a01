"""The whole way, seen from outside: a model and data made on the spot, the real server, the real client.

The training goes through MCP over stdio as an agent's would; only the tiny model is made by a job started directly.
"""

import json
import os
import random
import re
import sys
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import anyio
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from trl_mcp.backends.base import JobSpec, Stage
from trl_mcp.backends.local import LocalBackend
from trl_mcp.errors import TrlMcpError
from trl_mcp.plan.plan import run_key
from trl_mcp.render.script import render
from trl_mcp.settings import Settings
from trl_mcp.values import ToolName

_REPEATS = 20
_LEARNED = 9
_LOSS = re.compile(r"step (\d+)/\d+ .*?\bloss ([\d.e+-]+)")
_COLOURS = ("amber", "blue", "coral", "green", "ivory", "olive", "pink", "ruby", "teal", "white")

Answers = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DemoRun:
    """What the demo trains: the arguments of submit_training, and whether the answers are known."""

    arguments: dict[str, object]
    has_known_answers: bool


def run_demo(model: str | None, dataset: str | None) -> int:
    """Run the demo and return 0 only if the model has learned."""
    console = Console()
    settings = Settings.from_environ(os.environ)
    try:
        return anyio.run(_demo, console, settings, model, dataset)
    except (TrlMcpError, DemoFailed) as error:
        console.print(str(error), style="red", markup=False, highlight=False)
        return 1


class DemoFailed(Exception):
    """The demo cannot go on; the message says why."""


async def _demo(console: Console, settings: Settings, model: str | None, dataset: str | None) -> int:
    seed = random.SystemRandom().randrange(10_000)
    folder = Path(tempfile.mkdtemp(prefix="trl-mcp-demo-"))
    data = dataset or _write_questions(folder / "codes.jsonl", seed)
    model = model or await _tiny_model(console, settings, Path(data), seed)
    run = _demo_run(model, data, is_tiny=dataset is None)
    server = StdioServerParameters(command=sys.executable, args=["-m", "trl_mcp"], env=dict(settings.environ))
    async with Client(stdio_client(server)) as client:
        job_id = await submit_plan(console, client, run)
        status = await _follow(console, client, job_id)
        losses = await _losses(client, job_id)
        samples = await _samples(client, job_id)
    _show_curve(console, losses)
    right = _show_answers(console, samples)
    console.print(f"The model lies in [bold]{escape(status['output_path'])}[/bold]")
    return _verdict(console, run, losses, right, len(samples))


def _demo_run(model: str, dataset: str, *, is_tiny: bool) -> DemoRun:
    if is_tiny:
        settings = ["max_steps=150", "warmup_steps=10", "logging_steps=5"]
        arguments: dict[str, object] = {"tuning": "full", "learning_rate": 5e-3, "batch_size": 16, "max_length": 128}
    else:
        settings = ["max_steps=20", "logging_steps=1"]
        arguments = {"dataset_split": "train[:500]", "max_length": 512}
    common: dict[str, object] = {"method": "sft", "model": model, "dataset": dataset, "trainer_args": settings}
    return DemoRun(common | arguments | {"hardware": "local"}, is_tiny)


def _write_questions(path: Path, seed: int) -> str:
    """Write ten questions with random answers, twenty times each, as prompts with completions."""
    chance = random.Random(seed)  # noqa: S311 # codes of boxes, no secrets
    rows = [
        (f"What is the code of the {colour} box?", f"The code is {chance.randrange(100, 1000)}.") for colour in _COLOURS
    ]
    rows = rows * _REPEATS
    chance.shuffle(rows)
    with path.open("w", encoding="utf-8") as file:
        for question, answer in rows:
            file.write(json.dumps({"prompt": question, "completion": answer}) + "\n")
    return str(path)


async def _tiny_model(console: Console, settings: Settings, data: Path, seed: int) -> str:
    """Make a tiny Qwen3 model by a job and return its folder."""
    backend = LocalBackend(settings.home, environ=settings.environ)
    corpus = sorted(set((await anyio.Path(data).read_text(encoding="utf-8")).splitlines()))
    values = {"seed": 0, "hidden_size": 64, "layers": 2, "vocab_size": 512, "architecture": "qwen3", "corpus": corpus}
    script = render("tiny_model", values)
    spec = JobSpec("demo", "tiny_model", run_key({"values": values, "seed": seed}), script, "local", "local")
    with console.status("Making a tiny model (the first time, its environment is installed too)"):
        job = (await backend.submit(spec)).job
        while not (job := await backend.inspect(job.id)).stage.is_terminal:
            await anyio.sleep(0.2)
    if job.stage is not Stage.COMPLETED:
        tail = (await backend.logs(job.id, tail=15)).lines
        raise DemoFailed("\n".join(["The tiny model could not be made.", job.message, *tail]))
    return job.output_path


async def _call(client: Client, tool: ToolName, **arguments: object) -> Answers:
    result = await client.call_tool(tool.value, dict(arguments))
    if result.is_error:
        raise DemoFailed("\n".join(getattr(block, "text", "") for block in result.content))
    return cast(Answers, result.structured_content)


async def submit_plan(console: Console, client: Client, run: DemoRun) -> str:
    """Show the plan, then start it and return the job's id."""
    plan = await _call(client, ToolName.SUBMIT_TRAINING, **run.arguments, dry_run=True)
    for name, words in _shown(plan):
        console.print(f"[bold]{name}[/bold]  {escape(words)}", highlight=False)
    if plan["status"] == "refused":
        raise DemoFailed("\n".join(finding["message"] for finding in plan["findings"]))
    started = await _call(client, ToolName.START_JOB, id=plan["plan_id"])
    console.print(f"[bold]job[/bold]  {started['job_id']} {started['status']}", highlight=False)
    return started["job_id"]


def _shown(plan: Answers) -> list[tuple[str, str]]:
    """Return what a person reads of a plan before it is started."""
    ceiling, verdict = plan.get("usd_ceiling"), plan.get("verdict")
    return [
        *((name, plan[name]) for name in ("recipe", "data", "where")),
        ("ceiling", "free" if ceiling is None else f"${ceiling:g}"),
        ("verdict", f"{verdict}, {plan['peak_gb']:.2g} GB at the peak" if verdict else "not known"),
        *((finding["severity"], finding["message"]) for finding in plan.get("findings", [])),
    ]


async def _follow(console: Console, client: Client, job_id: str) -> Answers:
    """Draw a progress bar from job_status until the job has ended, and return its last status."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[loss]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=None, loss="")
        while True:
            status = await _call(client, ToolName.JOB_STATUS, job_id=job_id)
            _draw(bar, task, status)
            if status.get("next_check_s") is None:
                break
            await anyio.sleep(0.3)
    if status["stage"] != Stage.COMPLETED:
        cause = status.get("diagnosis", {})
        raise DemoFailed(f"The job ended in {status['stage']}: {cause.get('cause', '')} {cause.get('evidence', '')}")
    return status


def _draw(bar: Progress, task: TaskID, status: Answers) -> None:
    progress = status.get("progress")
    loss = next((entry for entry in status.get("metrics", []) if entry.startswith("loss=")), "")
    if progress:
        done = {"completed": progress["step"], "total": progress["max_steps"]}
        bar.update(task, description=status.get("activity") or "training", loss=loss, **done)
    else:
        bar.update(task, description=status.get("activity") or status["stage"].lower())


async def _losses(client: Client, job_id: str) -> list[tuple[int, float]]:
    lines = (await _call(client, ToolName.JOB_LOGS, job_id=job_id, show="metrics", lines=1000))["lines"]
    return [(int(found.group(1)), float(found.group(2))) for line in lines if (found := _LOSS.match(line))]


async def _samples(client: Client, job_id: str) -> list[Answers]:
    lines = (await _call(client, ToolName.JOB_LOGS, job_id=job_id, show="samples", lines=1000))["lines"]
    return [cast(Answers, json.loads(line)) for line in lines if line.startswith("{")]


def _show_curve(console: Console, losses: list[tuple[int, float]]) -> None:
    plotext: Any = import_module("plotext")  # it has no types
    figure = plotext.figure

    figure.plot_size(min(console.width, 80), 14)
    figure.title("loss by step")
    figure.draw(figure.signal([step for step, _ in losses], [loss for _, loss in losses]).lines())
    console.print(plotext.uncolorize(str(figure.build())), highlight=False, markup=False)


def _show_answers(console: Console, samples: list[Answers]) -> int:
    """Print the answers before and after training and return how many became right."""
    table = Table("prompt", "before", "after", "")
    right = 0
    for sample in samples:
        is_right = sample.get("after", "").strip() == sample.get("expected", "").strip()
        right += is_right
        shown = (sample["prompt"][-200:], sample.get("before", "")[:120], sample.get("after", "")[:120])
        table.add_row(*map(escape, shown), "right" if is_right else "")
    console.print(table)
    return right


def _verdict(console: Console, run: DemoRun, losses: list[tuple[int, float]], right: int, asked: int) -> int:
    """Say whether the model has learned and return the exit code."""
    third = max(1, len(losses) // 3)
    first, last = (sum(loss for _, loss in part) / third for part in (losses[:third], losses[-third:]))
    has_learned = last < first and (right >= _LEARNED or not run.has_known_answers)
    answers = f", {right} of {asked} answers right" if run.has_known_answers else ""
    console.print(
        f"loss {losses[0][1]:.3g} -> {losses[-1][1]:.3g}{answers}: {'learned' if has_learned else 'not learned'}"
    )
    return 0 if has_learned else 1
