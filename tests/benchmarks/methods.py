"""Each method with each tuning, trained for real over the tools: `python -m tests.benchmarks.methods --write`.

Prints a table, and with --write puts it into docs/methods.md; exit code 1 if any has not learned. Environments are made
from the headers of the scripts, in the home that --home names or one that is removed again. A method's name, or several,
limits the run to them.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
from rich.console import Console
from rich.progress import Progress

from tests.story.agent import connected
from tests.story.conftest import CORPUS
from tests.story.school import Outcome, School
from trl_mcp import environments
from trl_mcp.backends.base import JobSpec, Stage
from trl_mcp.backends.local import LocalBackend
from trl_mcp.recipes.extras import FOUR_BITS
from trl_mcp.recipes.methods import METHODS
from trl_mcp.render.script import header_of, read_run, render, with_dependencies
from trl_mcp.render.templates import template_source

PAGE = Path(__file__).resolve().parents[2] / "docs/methods.md"
TITLE = "| method | tuning | trl | metric | at first | at last | seconds |"
ORDER = ("full", "lora", "qlora")
EXPERIMENTAL = " (experimental)"
IN_THE_JOBS = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRL_MCP_ALLOW_LOCAL_CODE": "1"}
INTRODUCTION = f"""# Methods and tunings

Made by `python -m tests.benchmarks.methods --write`; do not edit by hand.

Every row is a training that was asked for by `submit_training` and ran on the local backend, on a CPU without a GPU, in
the environment that the script's own header names. A tiny model learned ten answers by heart, to prefer another wording,
to tell right steps from wrong ones, to write digits, or what its teacher says; a row is here only if it learned. The
metric is the one of the job's log, its first and last values (the mean of a few where answers are drawn at random), the
seconds are those of the whole job.

{EXPERIMENTAL.strip(" ()").capitalize()} methods are so marked: TRL may change or drop them at any time, ppo and prm it has
dropped already, which is why they pin an older version.

Not proven here, since it takes a GPU: weights in 4 bits with bitsandbytes' own CUDA kernels (the rows of qlora ran with
its kernels for a CPU), bfloat16 and float16 on a card, attention beyond torch's own, and several GPUs. Scripts for them
are rendered and checked, not run.
"""


def row(outcome: Outcome) -> str:
    """Return a row of the table."""
    method = METHODS[outcome.method]
    name = f"`{method.name}`{EXPERIMENTAL if method.is_experimental else ''}"
    figures = f"{outcome.first:.3g} | {outcome.last:.3g} | {outcome.seconds}"
    return f"| {name} | {outcome.tuning} | {method.trl} | {outcome.metric} | {figures} |"


def page(outcomes: Sequence[Outcome]) -> str:
    """Return the document."""
    rows = [row(outcome) for outcome in outcomes]
    return "\n".join([INTRODUCTION, TITLE, "|---|---|---|---|---|---|---|", *rows, ""])


def wanted_scripts() -> list[str]:
    """Return the headers of all scripts of the run, those of qlora among them, each once."""
    headers = [header_of(template_source(name)) for name in METHODS]
    return list(dict.fromkeys([*headers, *(with_dependencies(header, [FOUR_BITS]) for header in headers)]))


async def make_model(home: Path, environ: Mapping[str, str]) -> str:
    """Return the folder of a tiny random model, made by a job."""
    backend = LocalBackend(home, environ=environ)
    run = read_run(template_source("tiny_model")) | {"corpus": [CORPUS] * 20}
    spec = JobSpec("demo", "tiny_model", "0123456789ab", render("tiny_model", run), "local", "local")
    job = (await backend.submit(spec)).job
    while not (job := await backend.inspect(job.id)).stage.is_terminal:
        await anyio.sleep(0.2)
    if job.stage is not Stage.COMPLETED:
        raise RuntimeError(f"no tiny model: {job.message}")
    return job.output_path


async def run_lessons(home: Path, methods: Sequence[str], console: Console) -> list[Outcome]:
    """Teach every method with every tuning, one after another; return what was learned."""
    environ = {**os.environ, "TRL_MCP_HOME": str(home), **IN_THE_JOBS}
    outcomes: list[Outcome] = []
    scripts = wanted_scripts()
    with Progress(console=console) as bar:
        made = bar.add_task("environments", total=len(scripts))
        taught = bar.add_task("lessons", total=len(methods) * len(ORDER))
        for script in scripts:
            await anyio.to_thread.run_sync(environments.prepare, script, home, environ)
            bar.advance(made)
        model = await make_model(home, environ)
        with tempfile.TemporaryDirectory() as folder:
            async with connected(environ) as agent:
                school = School(agent, model, Path(folder))
                for method, tuning in ((method, tuning) for method in methods for tuning in ORDER):
                    bar.update(taught, description=f"{method} {tuning}")
                    try:
                        outcome = await school.teach(method, tuning)
                    except AssertionError as error:
                        bar.console.print(f"{method} {tuning} FAILED: {error}", markup=False)
                    else:
                        bar.console.print(row(outcome), "" if outcome.learned else "NOT LEARNED", markup=False)
                        outcomes += [outcome] if outcome.learned else []
                    bar.advance(taught)
    return outcomes


def main() -> int:
    """Run the lessons; return 1 if any was not learned."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("methods", nargs="*", choices=[*METHODS, []], help="left out: all")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    parser.add_argument("--home", type=Path, help="where environments and jobs are kept")
    asked = parser.parse_args()
    methods = asked.methods or list(METHODS)
    if asked.write and asked.methods:
        parser.error("--write takes all methods: the document shows every one")
    with tempfile.TemporaryDirectory() as folder:
        outcomes = anyio.run(run_lessons, asked.home or Path(folder), methods, Console(width=160))
    is_complete = len(outcomes) == len(methods) * len(ORDER)
    if is_complete and asked.write:
        PAGE.write_text(page(outcomes), encoding="utf-8")
    return int(not is_complete)


if __name__ == "__main__":
    sys.exit(main())
