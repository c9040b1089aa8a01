"""A look at every row of a large data set beside `datasets` and plain Python: `python -m tests.benchmarks.data_scan`."""

import csv
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import psutil

from tests.hub import EmulatedHub

ROWS = 200_000
GROUP = 10_000
ROUNDS = 3
ROLES = {"system", "user", "assistant", "tool"}


def write_data(path: Path) -> int:
    """Write conversations with a heavy column beside them; return the bytes of the conversations' columns."""
    arrow: Any = import_module("pyarrow")
    parquet: Any = import_module("pyarrow.parquet")
    chance = random.Random(3)
    words = ["".join(chance.choices("etaoinshrdlucmfwyp", k=chance.randint(2, 9))) for _ in range(8000)]

    def turn(number: int, place: int) -> dict[str, str]:
        role = "assistant" if place % 2 else "user"
        return {"role": role, "content": " ".join([str(number), *chance.choices(words, k=chance.randint(15, 40))])}

    def group(first: int) -> Any:
        numbers = range(first, first + GROUP)
        talks = [[turn(number, place) for place in range(chance.choice((2, 2, 2, 4)))] for number in numbers]
        heavy = [chance.randbytes(300).hex() for _ in numbers]
        return arrow.table({"id": list(numbers), "messages": talks, "heavy": heavy})

    first = group(0)
    with parquet.ParquetWriter(path, first.schema, compression="zstd") as writer:
        for start in range(0, ROWS, GROUP):
            writer.write_table(group(start) if start else first)
    footer = parquet.read_metadata(path)
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    return sum(column.total_compressed_size for column in columns if column.path_in_schema.startswith("messages."))


def write_texts(path: Path) -> list[Path]:
    """Write the rows as JSON Lines, and as CSV with the first question and answer of each; return the files."""
    parquet: Any = import_module("pyarrow.parquet")
    paths = [path.with_suffix(".jsonl"), path.with_suffix(".csv")]
    with paths[0].open("w") as lines, paths[1].open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["id", "prompt", "completion", "heavy"])
        for batch in parquet.ParquetFile(path).iter_batches(GROUP):
            for row in batch.to_pylist():
                lines.write(f"{json.dumps(row)}\n")
                table.writerow([row["id"], *(turn["content"] for turn in row["messages"][:2]), row["heavy"]])
    return paths


def measure_local(path: str) -> None:
    """Look at a local file."""
    from trl_mcp.data.local import local_source
    from trl_mcp.data.look import look_at
    from trl_mcp.data.wishes import RowWishes

    report_of(lambda: look_at(local_source(Path(path)), RowWishes("sft"), time.monotonic() + 300).report.rows_kept)


def measure_hub(endpoint: str, commit: str) -> None:
    """Look at a data set on the Hub."""
    from trl_mcp.data.hub_source import HubData, hub_source
    from trl_mcp.data.look import look_at
    from trl_mcp.data.wishes import RowWishes
    from trl_mcp.hub.hub import Hub

    async def look() -> int:
        deadline = time.monotonic() + 300
        async with Hub(endpoint) as hub:
            data = HubData("acme/talks", "acme/talks", commit)
            source = await hub_source(hub, None, data, RowWishes("sft"), deadline)
            scan = await anyio.to_thread.run_sync(look_at, source, RowWishes("sft"), deadline)
        return scan.report.rows_kept

    report_of(lambda: anyio.run(look))


def measure_plain(path: str) -> None:
    """Load the file with `datasets` and make the same checks of every row in plain Python."""

    def check() -> int:
        datasets: Any = import_module("datasets")
        kind = "parquet" if path.endswith(".parquet") else "json"
        with tempfile.TemporaryDirectory() as cache:
            return checked(datasets.load_dataset(kind, data_files=path, split="train", cache_dir=cache))

    def checked(loaded: Any) -> int:
        from trl_mcp.data.checks import row_notes
        from trl_mcp.render.templates import job_module

        conversion = job_module("conversion")
        rows = loaded.select_columns(["messages"])
        convert = conversion.find_conversion(list(rows.select(range(100))), conversion.RowRules("sft")).convert
        seen: set[int] = set()
        kept = 0
        for row in rows:
            (converted,) = convert(row)
            notes = list(row_notes(converted, ("messages",)))
            seen.add(hash("".join(turn["content"] for turn in converted["messages"])))
            kept += not notes
        return kept

    report_of(check)


def report_of(work: Callable[[], int]) -> None:
    """Do the work once and print seconds, seconds of the processor, and the most memory in MB."""
    began, worked = time.perf_counter(), time.process_time()
    kept = work()
    assert kept == ROWS, kept
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    # What getrusage tells begins with the memory of the process that started this one.
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(seconds, worked, int(peak[1]) * 1024 / 1e6 if peak else float("nan"))


def best(*arguments: str) -> tuple[float, float, float]:
    """Return the least of several runs, each in a process of its own: imports are part of it, as of a first call."""
    command = [sys.executable, "-m", "tests.benchmarks.data_scan", *arguments]
    environment = os.environ | {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "0"}
    runs = [
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.split()
        for _ in range(ROUNDS)
    ]
    seconds, worked, memory = (min(float(run[place]) for run in runs) for place in range(3))
    return seconds, worked, memory


def main() -> None:
    """Measure all ways and print them one below the other."""
    with tempfile.TemporaryDirectory() as folder, EmulatedHub.start() as hub:
        path = Path(folder, "train.parquet")
        needed = write_data(path)
        commit = hub.add_repo("acme/talks", {"data/train.parquet": path.read_bytes()}, repo_type="dataset")
        lines, table = write_texts(path)
        print(f"{ROWS:,} rows, {path.stat().st_size / 1e6:.1f} MB, needed columns {needed / 1e6:.1f} MB")
        print(f"load average {psutil.getloadavg()[0]:.1f} on {os.cpu_count()} cores, best of {ROUNDS}")
        rows = {
            "Parquet on the Hub": best("hub", hub.endpoint, commit),
            "Parquet here": best("local", str(path)),
            "Parquet, datasets + Python": best("plain", str(path)),
            "JSON Lines here": best("local", str(lines)),
            "JSON Lines, datasets + Python": best("plain", str(lines)),
            "CSV here": best("local", str(table)),
        }
        fetched = sum(request.sent for request in hub.requests("*.parquet")) / ROUNDS
        print(f"{'':30}{'seconds':>9}{'CPU s':>8}{'MB RSS':>8}")
        for name, (seconds, worked, memory) in rows.items():
            print(f"{name:30}{seconds:9.2f}{worked:8.2f}{memory:8.0f}")
        print(f"fetched {fetched / 1e6:.1f} MB: {fetched / needed:.3f} x the needed columns")


if __name__ == "__main__":
    if sys.argv[1:]:
        {"local": measure_local, "hub": measure_hub, "plain": measure_plain}[sys.argv[1]](*sys.argv[2:])
    else:
        main()
