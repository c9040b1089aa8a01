"""What the tests of data share: tables written to files, looks at them, problems by their code."""

import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from trl_mcp.data.local import local_source
from trl_mcp.data.look import Scan, look_at
from trl_mcp.data.wishes import RowWishes
from trl_mcp.values import DataProblem, DataReport

pyarrow: Any = import_module("pyarrow")
parquet: Any = import_module("pyarrow.parquet")
compute: Any = import_module("pyarrow.compute")
SFT = RowWishes("sft")


def talk(question: str = "What is one and one?", answer: str = "It is two.") -> dict[str, Any]:
    """Return a row with a conversation of two turns."""
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def talks(count: int) -> list[dict[str, Any]]:
    """Return rows with conversations that differ."""
    return [talk(f"What is {number} and one?", f"It is {number + 1}.") for number in range(count)]


def write_parquet(path: Path, rows: Sequence[Mapping[str, Any]], group: int = 1000, schema: Any = None) -> Path:
    """Write rows as a Parquet file with `group` rows in a row group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.Table.from_pylist(list(rows), schema=schema), path, row_group_size=group)
    return path


def stored_bytes(path: Path, column: str) -> int:
    """Return how many bytes a column, or one with fields, takes in a Parquet file."""
    footer = parquet.read_metadata(path)
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    return sum(chunk.total_compressed_size for chunk in chunks if f"{chunk.path_in_schema}.".startswith(f"{column}."))


def look(path: Path, wishes: RowWishes = SFT, seconds: float = 60) -> Scan:
    """Look at a path."""
    return look_at(local_source(path), wishes, time.monotonic() + seconds)


def problem(report: DataReport, code: str) -> DataProblem:
    """Return the one problem of a code."""
    (found,) = [each for each in report.problems if each.code == code]
    return found


def codes(report: DataReport) -> list[str]:
    """Return the codes of all problems in their order."""
    return [each.code for each in report.problems]
