"""What the job knows of itself: the plan it was started from, and what it has cost so far."""

import math
import os
import sys
import time
from pathlib import Path
from typing import Any


def job_script() -> Path | None:
    """Return the file that runs; None where there is none."""
    path = os.environ.get("TRL_MCP_SCRIPT") or getattr(sys.modules["__main__"], "__file__", None)
    return Path(path) if path else None


def job_facts() -> dict[str, Any]:
    """Return the plan and, of a paid job, price, cost up to now and ceiling in USD; nothing where they are not known."""
    plan, ceiling = os.environ.get("TRL_MCP_PLAN"), os.environ.get("TRL_MCP_CEILING_USD")
    price = int(os.environ.get("TRL_MCP_PRICE_MICRO_USD") or 0)
    facts: dict[str, Any] = {"plan": plan} if plan else {}
    if price:
        minutes = started_minutes()
        facts |= {"usd_per_minute": price / 1e6, "minutes_so_far": minutes, "usd_so_far": minutes * price / 1e6}
    return facts | ({"usd_ceiling": float(ceiling)} if ceiling else {})


def started_minutes() -> int:
    """Return the minutes begun since the job's script was written, the first thing that a paid job does."""
    script = job_script()
    began = script.stat().st_mtime if script else time.time()
    return max(1, math.ceil((time.time() - began) / 60))
