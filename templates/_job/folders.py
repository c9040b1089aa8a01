"""Where a job reads and writes, as its environment says."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class JobFolders:
    """The folder of the result, and what a run keeps for its continuation."""

    output: Path
    checkpoints: Path
    rows: Path


def job_folders() -> JobFolders:
    """Return the folders that TRL_MCP_OUTPUT and TRL_MCP_RUN_FOLDER name, or their defaults here."""
    output = Path(os.environ.get("TRL_MCP_OUTPUT") or "output").absolute()
    run = Path(os.environ.get("TRL_MCP_RUN_FOLDER") or output / "run").absolute()
    return JobFolders(output=output, checkpoints=run / "checkpoints", rows=run / "rows")
