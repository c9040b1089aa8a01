"""Every kind of data source gives the same rows."""

import csv
import gzip
import io
import json
import subprocess
import textwrap
import threading
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.data.desk import write_parquet
from tests.hub import EmulatedHub
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


HUB_PROBE = f"""
    import json, sys
    from pathlib import Path
    sys.path.insert(0, {str(TEMPLATES)!r})
    from _job.source import load_training_data
    for run in json.loads(sys.argv[1]):
        data = load_training_data(run, True, Path(sys.argv[2]))
        print(json.dumps([row["completion"][0]["content"] for row in data.train]), dict(data.dropped))
"""


def test_files_on_the_hub_are_read_as_they_were_checked_not_as_the_data_set_library_takes_them(
    job_runs: JobRuns, tmp_path: Path
) -> None:
    """That library makes numbers, dates and missing values of texts, and wants one schema in all files."""
    answers = ["7", "NA", "2020-01-01", "None", "1e3", "true"]
    table = "prompt,completion\n" + "".join(f"{number} + 1?,{answer}\n" for number, answer in enumerate(answers))
    rows = [{"prompt": f"{number} + 1?", "completion": answer} for number, answer in enumerate(answers)]
    odd = [{"prompt": "1?", "completion": 5}, {"text": "Once upon a time"}]
    lines = "".join(json.dumps(row) + "\n" for row in [*rows, *odd])
    parts = [write_parquet(tmp_path / "a.parquet", part).read_bytes() for part in (rows, odd[:1], odd[1:])]
    files: dict[str, dict[str, str | bytes]] = {
        "table": {"train.csv": table},
        "lines": {"train.jsonl": lines},
        "packed": {"train.jsonl.gz": gzip.compress(lines.encode())},
        "parts": {f"data/train-0000{number}-of-00003.parquet": part for number, part in enumerate(parts)},
    }
    with EmulatedHub.start(tmp_path / "hub") as hub:
        runs: list[dict[str, Any]] = []
        for name, content in files.items():
            commit = hub.add_repo(f"alice/{name}", content, repo_type="dataset", private=True)
            named = {"dataset_revision": commit, "dataset_config": None, "dataset_files": {"train": list(content)}}
            given: dict[str, Any] = {
                "method": "sft",
                "columns": {},
                "system_prompt": None,
                "config": {},
                "eval_split": None,
            }
            runs.append(given | named | {"dataset": f"alice/{name}", "dataset_split": "train"})
        reached = {"HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0", "HF_TOKEN": hub.tokens["alice"]}
        command = [job_runs.python, "-c", textwrap.dedent(HUB_PROBE), json.dumps(runs), str(tmp_path / "work")]
        environment = job_runs.environment(tmp_path) | reached
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    dropped = ["{}"] + ["{'wrong_type': 1, 'mixed_layout': 1}"] * 3
    assert done.stdout.splitlines() == [f"{json.dumps(answers)} {left_out}" for left_out in dropped]
