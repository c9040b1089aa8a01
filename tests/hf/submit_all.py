"""A server of its own: submits a job for each run and prints the ids. Arguments: endpoint, lock folder, run keys."""

import json
import os
import sys
from pathlib import Path

import anyio

from tests.hf.desk import persistently, quickly, spec
from trl_mcp.backends.hf import HfBackend
from trl_mcp.hub.hub import Hub


async def submit_all(endpoint: str, locks: Path, runs: list[str]) -> list[str]:
    """Submit the runs one after another and return their jobs."""
    async with Hub(endpoint, sleep=quickly) as hub:
        backend = HfBackend(hub, os.environ["HF_TOKEN"], "alice", locks=locks)
        return [(await persistently(backend.submit, spec(run=run))).job.id for run in runs]


if __name__ == "__main__":
    print(json.dumps(anyio.run(submit_all, sys.argv[1], Path(sys.argv[2]), sys.argv[3:])))
