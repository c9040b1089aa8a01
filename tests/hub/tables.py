"""What Arrow does for the Hub: data files read as tables, features, and LZ4."""
# pyarrow ships no types: this module is the only one that touches it, and everything it returns is typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportUnknownParameterType=false, reportAttributeAccessIssue=false, reportUnknownLambdaType=false

from __future__ import annotations

import base64
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from io import BytesIO
from typing import Any

import pyarrow as pa
from pyarrow import csv, parquet, types
from pyarrow import json as arrow_json

SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json", ".csv")


@dataclass(frozen=True)
class Table:
    """The rows of one split."""

    arrow: Any

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return int(self.arrow.num_rows)

    @property
    def num_bytes(self) -> int:
        """How much memory the rows take."""
        return int(self.arrow.nbytes)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return list(self.arrow.column_names)

    def rows(self, offset: int, length: int) -> list[dict[str, Any]]:
        """Return a run of rows as JSON values."""
        return [jsonable(row) for row in self.arrow.slice(offset, length).to_pylist()]

    def values(self, column: str) -> list[Any]:
        """Return all values of a column."""
        return self.arrow.column(column).to_pylist()

    def kind(self, column: str) -> str | None:
        """Name the kind of a column for statistics; None where there are none."""
        wanted = self.arrow.schema.field(column).type
        checks = {
            "bool": types.is_boolean,
            "int": types.is_integer,
            "float": types.is_floating,
            "string": lambda t: types.is_string(t) or types.is_large_string(t),
            "list": lambda t: types.is_list(t) or types.is_large_list(t),
        }
        return next((name for name, check in checks.items() if check(wanted)), None)

    def features(self) -> dict[str, Any]:
        """Return the columns' types as data-set features."""
        metadata = (self.arrow.schema.metadata or {}).get(b"huggingface")
        if metadata and (features := json.loads(metadata).get("info", {}).get("features")):
            return features
        return {field.name: _feature(field.type) for field in self.arrow.schema}

    def parquet(self) -> bytes:
        """Return the rows as a Parquet file."""
        out = BytesIO()
        parquet.write_table(self.arrow, out)
        return out.getvalue()


def read_table(path: str, content: bytes) -> Table:
    """Read a data file by its suffix."""
    if path.endswith(".parquet"):
        return Table(parquet.read_table(BytesIO(content)))
    if path.endswith(".csv"):
        return Table(csv.read_csv(BytesIO(content)))
    if content.lstrip().startswith(b"["):
        return Table(pa.Table.from_pylist(json.loads(content)))
    return Table(arrow_json.read_json(BytesIO(content)))


def join(tables: Sequence[Table]) -> Table:
    """Put the files of a split one after the other."""
    return Table(pa.concat_tables([table.arrow for table in tables], promote_options="default"))


def lz4_decompress(data: bytes, length: int) -> bytes:
    """Unpack an LZ4 frame whose plain length is known."""
    return pa.Codec("lz4").decompress(data, length, asbytes=True)


def jsonable(value: Any) -> Any:
    """Return a value in a form that JSON can express."""
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value


def _feature(kind: Any) -> Any:
    if types.is_list(kind) or types.is_large_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    if types.is_struct(kind):
        return {kind.field(i).name: _feature(kind.field(i).type) for i in range(kind.num_fields)}
    names = {"double": "float64", "float": "float32", "halffloat": "float16", "utf8": "string"}
    return {"dtype": names.get(str(kind), str(kind)), "_type": "Value"}
