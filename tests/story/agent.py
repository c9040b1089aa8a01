"""What an agent does over MCP, and what a test may do to the processes behind it."""

import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import anyio
import psutil
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

Answers = dict[str, Any]
OVER = ("COMPLETED", "ERROR", "CANCELED")
#: A training of alice's on what lies on the Hub; it learns in seconds.
HUB_TRAINING: Answers = {
    "method": "sft",
    "model": "alice/tiny",
    "dataset": "alice/questions",
    "columns": ["prompt=question", "completion=answer"],
    "tuning": "full",
    "learning_rate": 5e-3,
    "batch_size": 16,
    "max_length": 128,
    "trainer_args": ["max_steps=150", "warmup_steps=10", "logging_steps=5"],
}


class Agent:
    """A client that calls tools and expects them to work."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def call(self, tool: str, **arguments: object) -> Answers:
        result = await self._client.call_tool(tool, arguments)
        text = "\n".join(getattr(block, "text", "") for block in result.content)
        assert not result.is_error, text
        return cast(Answers, result.structured_content)

    async def read(self, uri: str) -> str:
        """Return a text resource."""
        return "".join(getattr(part, "text", "") for part in (await self._client.read_resource(uri)).contents)

    async def until(self, job_id: str, reached: Callable[[Answers], bool], seconds: float = 180) -> Answers:
        """Ask for the status until it is as wanted."""
        status: Answers = {}
        with anyio.move_on_after(seconds):
            while not reached(status):
                assert status.get("stage") not in OVER, f"it is over: {status}"
                status = await self.call("job_status", job_id=job_id, wait_seconds=0)
                await anyio.sleep(0.2)
            return status
        raise AssertionError(f"not within {seconds} s: {status}")

    async def follow(self, job_id: str, seconds: float = 180) -> Answers:
        """Ask for the status until the job is over."""
        return await self.until(job_id, lambda status: status.get("stage") in OVER, seconds)

    async def losses(self, job_id: str) -> dict[int, str]:
        """Return the loss by step as the log tells it, every digit that it shows."""
        lines = (await self.call("job_logs", job_id=job_id, show="metrics", lines=1000))["lines"]
        steps = (line.split("  ") for line in lines if "  loss " in line)
        return {int(parts[0].split()[1].split("/")[0]): parts[1] for parts in steps}

    async def loss_numbers(self, job_id: str) -> dict[int, float]:
        """Return the loss by step; sums of floats may differ in their last digits from one run to the next."""
        return {step: float(text.removeprefix("loss ")) for step, text in (await self.losses(job_id)).items()}

    async def samples(self, job_id: str) -> list[Answers]:
        lines = (await self.call("job_logs", job_id=job_id, show="samples", lines=1000))["lines"]
        return [json.loads(line) for line in lines]


@asynccontextmanager
async def connected(environ: Mapping[str, str]) -> AsyncGenerator[Agent]:
    """Start a server over stdio and connect to it."""
    server = StdioServerParameters(command=sys.executable, args=["-m", "trl_mcp"], env=dict(environ))
    async with Client(stdio_client(server)) as client:
        yield Agent(client)


def step_of(status: Answers) -> int:
    return status.get("progress", {}).get("step", 0)


def script_process(job_id: str) -> psutil.Process:
    """Return the process that runs a job's script."""
    return _process(lambda command: len(command) > 1 and command[1].endswith(f"{job_id}/script.py"))


def supervisor_process(job_id: str) -> psutil.Process:
    """Return the process that supervises a job."""
    return _process(
        lambda command: "trl_mcp.backends.supervisor" in command and any(job_id in part for part in command)
    )


def server_processes() -> list[psutil.Process]:
    """Return the servers that this process has started."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.cmdline()[-2:] == ["-m", "trl_mcp"]]


def kill(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)


def _process(is_meant: Callable[[list[str]], bool]) -> psutil.Process:
    (found,) = [p for p in psutil.process_iter(["cmdline"]) if is_meant(p.info["cmdline"] or [])]
    return found


def write_questions(path: Path, count: int = 10, repeats: int = 20) -> Path:
    """Write questions with one answer each, several times over."""
    rows = [
        {"question": f"What is the code of box {number}?", "answer": f"The code is {number * 37 % 100}."}
        for number in range(count)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows * repeats), encoding="utf-8")
    return path
