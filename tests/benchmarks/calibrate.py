"""Fit the measured constants of the estimates and write them: `python -m tests.benchmarks.calibrate [FILE ...]`.

Without files: docs/calibration/measurements.json. Each further file of own measurements is fitted along with it.
"""

import sys
from pathlib import Path

from tests.benchmarks.heldout import PEAK, RATE, Quantity, fit_rows, scored
from tests.benchmarks.measurements import CALIBRATION_DATA, Row, read_rows

TARGET = Path(__file__).parents[2] / "server" / "trl_mcp" / "estimate" / "calibration.py"
_TEXT = '''"""The constants of the estimates that were measured, not derived: written by `python -m tests.benchmarks.calibrate`.

What each means and what it was before the fit stands in tests/benchmarks/constants.py.
"""

from types import MappingProxyType

from trl_mcp.estimate.setup import Calibration

CALIBRATION = Calibration(
    memory=MappingProxyType(
        {{
{memory}
        }}
    ),
    speed=MappingProxyType(
        {{
{speed}
        }}
    ),
)
'''


def written(rows: list[Row]) -> str:
    """Return the calibration module fitted to rows."""
    return _TEXT.format(memory=_entries(rows, PEAK), speed=_entries(rows, RATE))


def _entries(rows: list[Row], quantity: Quantity) -> str:
    values = fit_rows(scored(rows, quantity), quantity)
    return "\n".join(f'            "{name}": {float(f"{value:.4g}")!r},' for name, value in values.items())


def main() -> None:
    """Fit and write."""
    files = [CALIBRATION_DATA / "measurements.json", *map(Path, sys.argv[1:])]
    rows = [row for file in files for row in read_rows(file)]
    TARGET.write_text(written(rows), encoding="utf-8")
    counts = ", ".join(f"{len(scored(rows, each))} rows of {each.name}" for each in (PEAK, RATE))
    print(f"Fitted {counts} into {TARGET}")


if __name__ == "__main__":
    main()
