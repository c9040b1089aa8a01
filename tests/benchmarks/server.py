"""Start-up, memory and call time of the server beside a bare MCP server: `python -m tests.benchmarks.server`."""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

BARE = """
from mcp.server import MCPServer
server = MCPServer("bare", version="1", log_level="WARNING")
@server.tool()
def job_status(job_id: str = "") -> str:
    return "ok"
server.run("stdio")
"""
ROUNDS = 5
CALLS = 50


@dataclass
class Figures:
    """Seconds to the first answer, resident MB after listing the tools, seconds a call."""

    start_s: float
    memory_mb: float
    call_s: float


async def measure(arguments: list[str], home: str) -> Figures:
    """Start a server, list its tools, call one many times."""
    parameters = StdioServerParameters(command=sys.executable, args=arguments, env={**os.environ, "TRL_MCP_HOME": home})
    before = set(psutil.Process().children(recursive=True))
    began = time.perf_counter()
    async with Client(stdio_client(parameters)) as client:
        started = time.perf_counter() - began
        await client.list_tools()
        (server,) = set(psutil.Process().children(recursive=True)) - before
        memory = server.memory_info().rss / 1e6
        calls: list[float] = []
        for _ in range(CALLS):
            began = time.perf_counter()
            await client.call_tool("job_status", {})
            calls.append(time.perf_counter() - began)
    return Figures(started, memory, statistics.median(calls))


def median(figures: list[Figures], of: Callable[[Figures], float]) -> float:
    """Return the median of one figure."""
    return statistics.median(of(each) for each in figures)


def main() -> None:
    """Measure both in turn and print them side by side."""
    with tempfile.TemporaryDirectory() as home:
        bare_file = Path(home) / "bare.py"
        bare_file.write_text(BARE, encoding="utf-8")
        subprocess.run([sys.executable, "-m", "compileall", "-q", home], check=True)
        ours: list[Figures] = []
        bare: list[Figures] = []
        for _ in range(ROUNDS):
            bare.append(asyncio.run(measure([str(bare_file)], home)))
            ours.append(asyncio.run(measure(["-m", "trl_mcp"], home)))
    rows: list[tuple[str, Callable[[Figures], float]]] = [
        ("start, s", lambda figures: figures.start_s),
        ("memory, MB", lambda figures: figures.memory_mb),
        ("job_status, s", lambda figures: figures.call_s),
    ]
    print(f"{'':16}{'trl-mcp':>10}{'bare mcp':>10}{'ratio':>8}")
    for name, of in rows:
        own, other = median(ours, of), median(bare, of)
        print(f"{name:16}{own:10.4f}{other:10.4f}{own / other:8.2f}")


if __name__ == "__main__":
    main()
