"""The run's rows: read from wherever its data set lies, converted, and written where they cost no memory."""

import itertools
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _job.columns import UnclearColumnsError
from _job.conversion import FIRST_ROWS, Conversion, RowRules, find_conversion
from _job.files import UnreadableFileError, file_kind, list_splits, read_text_file, split_called
from _job.hub import ask_hub, hub_client
from _job.rows import SplitSlice, convert_rows, explain_dropped, parse_split, source_columns

PARQUET_BATCH_ROWS = 1000


@dataclass(frozen=True)
class TrainingData:
    """The data sets that a trainer takes, and how many rows of the split were left out for which reason."""

    train: Any
    evaluation: Any
    dropped: Counter[str]


def load_training_data(run: dict[str, Any], chat_template: bool, folder: Path) -> TrainingData:
    """Read, convert and hold out rows as the run says, with their Arrow files in the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rules = RowRules(run["method"], run["columns"], run["system_prompt"], chat_template)
    conversion = split_conversion(run, run["dataset_split"], rules, folder)
    train, dropped = load_split(run, run["dataset_split"], conversion, folder / "train.arrow")
    held_out = run["eval_split"]
    if isinstance(held_out, float):
        parts = train.train_test_split(test_size=held_out, seed=run["config"].get("seed", 42))
        return TrainingData(parts["train"], parts["test"], dropped)
    evaluation = load_split(run, held_out, conversion, folder / "eval.arrow")[0] if held_out else None
    return TrainingData(train, evaluation, dropped)


def split_conversion(run: dict[str, Any], split: str, rules: RowRules, folder: Path) -> Conversion:
    """Return what the first rows of a split call for; end the job where they do not say it."""
    part = SplitSlice(parse_split(split).name)
    sample = list(itertools.islice(split_rows(run, part, [], folder), FIRST_ROWS))
    try:
        return find_conversion(sample, rules)
    except UnclearColumnsError as error:
        raise SystemExit(f"no row of {source_name(run)} ({split}) can be trained on: {error}") from None


def source_name(run: dict[str, Any]) -> str:
    """Name the data set or file as the run does."""
    return run.get("dataset_file") or run["dataset"]


def load_split(run: dict[str, Any], split: str, conversion: Conversion, path: Path) -> tuple[Any, Counter[str]]:
    """Return the converted rows of one split and the count of the others; end the job if there are none."""
    rows = split_rows(run, parse_split(split), source_columns(conversion), path.parent)
    dropped: Counter[str] = Counter()
    dataset = write_rows(convert_rows(rows, conversion, dropped), conversion, path)
    if dataset is None:
        why = f"dropped: {explain_dropped(dropped)}" if dropped else "the split is empty"
        names = list(conversion.names)
        raise SystemExit(f"no row of {source_name(run)} ({split}) can be trained on; {why}; columns: {names}")
    return dataset, dropped


def write_rows(rows: Iterator[dict[str, Any]], conversion: Conversion, path: Path) -> Any:
    """Write the rows to an Arrow file and return them as a data set that reads from there; None without rows."""
    from datasets import Dataset, Json
    from datasets.arrow_writer import ArrowWriter

    first = next(rows, None)
    if first is None:
        return None
    features = row_features(first, conversion)
    in_json = [name for name, feature in features.items() if isinstance(feature, Json)]
    with ArrowWriter(path=str(path), features=features) as writer:
        for row in itertools.chain([first], rows):
            # A text that happens to be JSON would come back as what it says.
            writer.write(row | {name: json.dumps(row[name]) for name in in_json if row[name] is not None})
        writer.finalize(close_stream=False)
    return Dataset.from_file(str(path))


def row_features(row: dict[str, Any], conversion: Conversion) -> Any:
    """Return the types of the columns; what may have fields of its own is kept as JSON, such as a turn."""
    from datasets import Features, Json, List, Value

    plain = {bool: "bool", float: "float64", str: "string"}

    def feature(name: str, value: Any) -> Any:
        if name not in conversion.targets:
            return Value("string") if name in conversion.shaper.texts else Json()
        if isinstance(value, list):
            return List(Value(plain[type(value[0])])) if type(value[0]) in plain else List(Json())
        return Value(plain[type(value)])

    return Features({name: feature(name, value) for name, value in row.items()})


def split_rows(run: dict[str, Any], part: SplitSlice, columns: list[str], folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a part of a split: of a web address, of a path, of a file on the Hub, or of a data set there."""
    source = run["dataset"]
    if run.get("dataset_file"):
        return path_rows(hub_file(run, run["dataset_file"]), part, columns)
    if "://" in source:
        return url_rows(source, part, columns, folder)
    if Path(source).is_absolute():
        return path_rows(Path(source), part, columns)
    return hub_rows(run, part, columns)


def hub_rows(run: dict[str, Any], part: SplitSlice, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    """Yield rows of a data set on the Hub, at the run's revision: its own files, or those that the run names."""
    from datasets import load_dataset

    named = (run.get("dataset_files") or {}).get(part.name)
    if named:
        return sliced_rows(part, lambda: hub_file_rows(run, named, columns))
    where = {"split": part.name, "revision": run["dataset_revision"]}
    loaded: Any = load_dataset(run["dataset"], run["dataset_config"], **where)
    start, stop = part.bounds(len(loaded))
    names = [name for name in loaded.column_names if name in columns]
    chosen = loaded.select_columns(names) if names else loaded
    return iter(chosen.select(range(start, stop)))


def hub_file_rows(run: dict[str, Any], names: list[str], columns: list[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of files of a data set on the Hub."""
    for name in names:
        yield from file_rows(hub_file(run, name), file_kind(name), columns)


def hub_file(run: dict[str, Any], file: str) -> Path:
    """Return a data file, downloaded from the data set on the Hub that it is kept in."""
    client, name = hub_client(), run["dataset"]
    where = {"repo_type": "dataset", "revision": run["dataset_revision"]}
    return Path(ask_hub(lambda: client.hf_hub_download(name, file, **where), name, "read"))


def url_rows(address: str, part: SplitSlice, columns: list[str], folder: Path) -> Iterator[Mapping[str, Any]]:
    """Yield rows of a data file on the web, downloaded once into the folder."""
    kind = file_kind(address.partition("?")[0].partition("#")[0])
    if kind is None:
        raise UnreadableFileError(f"{address} does not end in the name of a data file")
    check_split(part.name, ["train"], address)
    path = folder / f"download.{kind}"
    if not path.exists():
        download_file(address, path)
    yield from sliced_rows(part, lambda: file_rows(path, kind, columns))


def download_file(address: str, path: Path) -> None:
    """Download a file in pieces, without any token."""
    from huggingface_hub import get_session

    as_it_is = {"Accept-Encoding": "identity"}
    request = get_session().stream("GET", address, headers=as_it_is, follow_redirects=True)
    with request as answer, path.open("wb") as stream:
        answer.raise_for_status()
        for piece in answer.iter_raw():
            stream.write(piece)


def path_rows(path: Path, part: SplitSlice, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    """Yield rows of a data file, or of the files in a folder that belong to the split."""
    splits = list_splits(path)
    name = split_called(part.name) or part.name
    check_split(name, list(splits), str(path))

    def read_all() -> Iterator[Mapping[str, Any]]:
        for file in splits[name]:
            yield from file_rows(file, file_kind(file.name), columns)

    return sliced_rows(part, read_all)


def check_split(name: str, there: list[str], source: str) -> None:
    """Refuse a split that is not there, naming those that are."""
    if name not in there:
        raise UnreadableFileError(f"{source} has no split {name}; it has: {', '.join(there) or 'no data file'}")


def sliced_rows(part: SplitSlice, read: Callable[[], Iterator[Any]]) -> Iterator[Any]:
    """Yield a part of what `read` yields; the rows are counted first only where the bounds depend on it."""
    if not part.needs_count:
        return itertools.islice(read(), part.start, part.stop)
    start, stop = part.bounds(sum(1 for _ in read()))
    return itertools.islice(read(), start, stop)


def file_rows(path: Path, kind: str | None, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of one data file."""
    if kind is None:
        raise UnreadableFileError(f"{path.name} does not end in the name of a data file")
    return parquet_rows(path, columns) if kind == "parquet" else read_text_file(path, kind)


def parquet_rows(path: Path, columns: list[str]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of a Parquet file with the columns that are needed."""
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if name in columns] or None
            for batch in file.iter_batches(PARQUET_BATCH_ROWS, columns=names):
                yield from batch.to_pylist()
    except (ArrowInvalid, OSError) as error:
        raise UnreadableFileError(f"{path.name} is no readable Parquet file: {error}") from error
