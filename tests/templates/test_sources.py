"""Every kind of data source gives the same rows."""

import csv
import gzip
import io
import json
import subprocess
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.templates.job_modules import TEMPLATES
from tests.templates.job_runs import JobRuns

pytestmark = [pytest.mark.training, pytest.mark.timeout(60)]
ROWS = [{"text": f"row {number}, \u201eand\u201c a line\nbreak"} for number in range(27)]
PROBE = Path(__file__).with_name("source_probe.py")


def csv_text() -> str:
    """Return the rows as CSV."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, ["text"])
    writer.writeheader()
    writer.writerows(ROWS)
    return stream.getvalue()


def write_sources(folder: Path) -> list[str]:
    """Write the rows in every form and return the paths."""
    lines = "\n".join(map(json.dumps, ROWS))
    texts = {"data.jsonl": lines, "data.json": json.dumps(ROWS, indent=2), "data.csv": csv_text()}
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode())
        (folder / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    parts = folder / "parts"
    parts.mkdir()
    (parts / "a.json").write_text(json.dumps(ROWS[:5]), encoding="utf-8")
    (parts / "b.jsonl").write_text("\n".join(map(json.dumps, ROWS[5:])), encoding="utf-8")
    return [str(folder / name) for name in (*texts, *(f"{name}.gz" for name in texts))] + [str(parts)]


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and keeps silent about it."""

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Write nothing."""


@contextmanager
def served(folder: Path) -> Generator[str]:
    """Serve a folder on this machine and yield its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_every_source_and_slice_gives_the_rows_of_the_data_set_library(job_runs: JobRuns, tmp_path: Path) -> None:
    command = [job_runs.python, str(PROBE), str(TEMPLATES), str(tmp_path), str(tmp_path / "data.json")]
    environment = job_runs.environment(tmp_path) | {"HF_HUB_OFFLINE": "0"}
    with served(tmp_path) as address:
        sources = [*write_sources(tmp_path), f"{address}/data.csv.gz?download=true", f"{address}/data.parquet"]
        done = subprocess.run([*command, *sources], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    read = [json.loads(line) for line in done.stdout.splitlines()]
    expected = {line["split"]: line["rows"] for line in read if line["source"] == "reference"}
    assert expected["train"] == ROWS
    assert len(read) == len(expected) * (len(sources) + 2)
    for line in read:
        assert line["rows"] == expected[line["split"]], (line["source"], line["split"])


def test_columns_for_rewards_come_back_as_they_were_given(job_runs: JobRuns, tmp_path: Path) -> None:
    awkward: list[dict[str, Any]] = [
        {"prompt": "a b", "answer": "7", "level": 3, "share": 0.1, "tags": ["[1]", None], "any": "{}", "none": None},
        {"prompt": "c d", "answer": None, "level": 4, "share": 2, "tags": [], "any": {"x": "1"}, "none": None},
        {"prompt": "e f", "answer": "[1]", "level": None, "share": 1e-9, "tags": None, "any": [4], "none": "late"},
    ]
    data = tmp_path / "rows.json"
    data.write_text(json.dumps(awkward), encoding="utf-8")
    command = [job_runs.python, str(PROBE), str(TEMPLATES), str(tmp_path), str(data)]
    done = subprocess.run(command, capture_output=True, text=True, env=job_runs.environment(tmp_path), check=False)
    assert done.returncode == 0, done.stderr
    expected = [row | {"prompt": [{"role": "user", "content": row["prompt"]}]} for row in awkward]
    assert json.loads(done.stdout) == expected
