"""Estimates beside published measurements: `python -m tests.benchmarks.estimator FILE [--json]`.

FILE is in the format of docs/calibration/README.md. Printed are errors with the constants as shipped and, held out,
with constants fitted to the rows of docs/calibration/measurements.json and FILE that share neither source nor model
family; beside them what public calculators say. With --json one object per row instead: id, peak_gb (10^9 bytes, of
the row's mem_kind), tokens_per_s_per_gpu, verdict; null where a row lacks what is needed.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

from tests.benchmarks import calculators
from tests.benchmarks.heldout import PEAK, RATE, Quantity, error_line, held_out, quantile
from tests.benchmarks.measurements import CALIBRATION_DATA, Row, read_rows

_GROUPS: Mapping[str, Callable[[Row], str]] = {
    "method": lambda row: str(row.raw.get("method")),
    "tuning": lambda row: row.setup.tuning,
    "GPU": lambda row: str(row.raw.get("gpu")),
    "source": lambda row: row.source,
    "family": lambda row: row.family,
}


def main() -> None:
    """Print the figures of a file, or one object per row."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.estimator", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true", help="one object per row")
    asked = parser.parse_args()
    rows = read_rows(asked.file)
    if asked.json:
        for row in rows:
            print(json.dumps(as_object(row)))
        return
    training = read_rows(CALIBRATION_DATA / "measurements.json")
    for quantity, others in ((PEAK, calculators.MEMORY), (RATE, calculators.SPEED)):
        print(report(rows, training, quantity, others))
    print(fit_report(rows))


def as_object(row: Row) -> dict[str, object]:
    """Return what is predicted of a row."""
    peak, rate = row.peak_gb(), row.tokens_per_s()
    return {
        "id": row.id,
        "peak_gb": None if peak is None else round(peak, 3),
        "tokens_per_s_per_gpu": None if rate is None else round(rate, 1),
        "verdict": row.verdict(),
    }


def report(
    rows: Sequence[Row],
    training: Sequence[Row],
    quantity: Quantity,
    others: Mapping[str, Callable[[Row], float | None]],
) -> str:
    """Return the figures of one quantity: held out and as shipped, by group, and those of public calculators."""
    measured = {place: value for place, row in enumerate(rows) if (value := quantity.measured(row))}
    if not measured:
        return f"{quantity.name}: no row can be held against a prediction\n"
    head = f"{quantity.name:46} {'rows':>4} {'median':>8} {'p90':>8} {'lean':>8}"
    found = held_out(rows, training, quantity)
    lines = [head, "-" * len(head)]
    lines.append(error_line("held out: source and family", [(found[place], measured[place]) for place in measured]))
    shipped = {place: cast(float, quantity.predict(rows[place], None)) for place in measured}
    lines.append(error_line("as shipped", [(shipped[place], measured[place]) for place in measured]))
    for name, calculator in others.items():
        pairs = [(value, measured[place]) for place in measured if (value := calculator(rows[place])) is not None]
        lines += [error_line(name, pairs)] if pairs else []
    if quantity is RATE:
        late = sorted(found[place] / measured[place] for place in measured if rows[place].setup.stack != "compiled")
        if late:
            shares = ", ".join(f"p{share}: {quantile(late, share / 100):.2f}" for share in (50, 90, 95))
            lines.append(f"time taken over time predicted, held out, Transformers only: {shares}")
    for title, group in _GROUPS.items():
        lines.append(f"held out, by {title}")
        for name in sorted({group(rows[place]) for place in measured}):
            places = [place for place in measured if group(rows[place]) == name]
            lines.append(error_line(f"  {name}", [(found[place], measured[place]) for place in places]))
    return "\n".join(lines) + "\n"


def fit_report(rows: Sequence[Row]) -> str:
    """Return how often runs that ran and runs that did not were told apart."""
    told = [(row, row.verdict()) for row in rows]
    lines: list[str] = []
    for outcome, wrong, text in (("ran", "no", "ran, called no"), ("oom", "fits", "ran out of memory, called fits")):
        of = [(row, verdict) for row, verdict in told if row.outcome == outcome and verdict]
        missed = [str(row.id) for row, verdict in of if verdict == wrong]
        lines.append(f"{text}: {len(missed)} of {len(of)}" + (f" (rows {', '.join(missed)})" if missed else ""))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
