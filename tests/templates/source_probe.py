"""Runs in a training environment: prints what the templates' own reader makes of each data source it is given.

Arguments: the templates' folder, a work folder, and the sources; a line of JSON for each split of each source.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

SPLITS = ("train", "train[:10%]", "train[3:7]", "train[-25%:-2]", "train[:-3]")


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write the rows as a Parquet file of several row groups."""
    table = importlib.import_module("pyarrow").Table.from_pylist(rows)
    importlib.import_module("pyarrow.parquet").write_table(table, path, row_group_size=4)


def passed_on(rows: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """Return rows of prompts as a reward would read them."""
    path = folder / "prompts.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    recipe: dict[str, Any] = {"method": "grpo", "columns": {}, "system_prompt": None, "config": {}, "eval_split": None}
    recipe |= {"dataset": str(path), "dataset_split": "train"}
    reader = importlib.import_module("_job.source")
    return reader.load_training_data(recipe, chat_template=True, folder=folder / "rows").train.to_list()


def read_source(source: str, split: str, folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a source as the templates read them."""
    recipe: dict[str, Any] = {"method": "sft", "columns": {}, "system_prompt": None, "config": {}, "eval_split": None}
    recipe |= {"dataset": source, "dataset_split": split}
    reader = importlib.import_module("_job.source")
    return reader.load_training_data(recipe, chat_template=False, folder=folder).train.to_list()


def reference(rows: list[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    """Return the rows of a slice as the data set library takes them."""
    instruction = importlib.import_module("datasets").ReadInstruction.from_spec(split)
    part = instruction.to_absolute({"train": len(rows)})[0]
    return rows[part.from_ : part.to]


def main() -> None:
    """Print the rows of every source, and those that the data set library finds in the same slices.

    Without a source: the rows as prompts.
    """
    templates, folder, rows_file = map(Path, sys.argv[1:4])
    sys.path.insert(0, str(templates))
    rows = json.loads(rows_file.read_text(encoding="utf-8"))
    if not sys.argv[4:]:
        print(json.dumps(passed_on(rows, folder)))
        return
    write_parquet(folder / "data.parquet", rows)
    for split in SPLITS:
        print(json.dumps({"source": "reference", "split": split, "rows": reference(rows, split)}))
        for source in [*sys.argv[4:], str(folder / "data.parquet")]:
            found = read_source(source, split, folder / "rows")
            print(json.dumps({"source": Path(source).name, "split": split, "rows": found}))


if __name__ == "__main__":
    main()
