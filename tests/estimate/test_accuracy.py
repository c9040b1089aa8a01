"""The estimates against published measurements, and the command that shows it."""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import calculators, heldout
from tests.benchmarks.calibrate import TARGET, written
from tests.benchmarks.constants import Constant
from tests.benchmarks.estimator import as_object, report
from tests.benchmarks.fitting import fit, solve
from tests.benchmarks.measurements import CALIBRATION_DATA, Row, read_row, read_rows
from trl_mcp.estimate.calibration import CALIBRATION

MEASUREMENTS = CALIBRATION_DATA / "measurements.json"


@cache
def rows() -> list[Row]:
    return read_rows(MEASUREMENTS)


def errors(quantity: heldout.Quantity, found: Mapping[int, float]) -> list[float]:
    return sorted(abs(value / (quantity.measured(rows()[place]) or 0) - 1) for place, value in found.items())


def test_peak_memory_of_sources_and_families_never_seen_is_within_5_percent_at_the_median_and_15_at_the_90th() -> None:
    sizes = errors(heldout.PEAK, heldout.held_out(rows(), rows(), heldout.PEAK))
    assert len(sizes) > 180
    assert heldout.quantile(sizes, 0.5) <= 0.05
    assert heldout.quantile(sizes, 0.9) <= 0.15


def test_throughput_of_sources_and_families_never_seen_is_within_8_percent_at_the_median_and_20_at_the_90th() -> None:
    sizes = errors(heldout.RATE, heldout.held_out(rows(), rows(), heldout.RATE))
    assert len(sizes) > 250
    assert heldout.quantile(sizes, 0.5) <= 0.08
    assert heldout.quantile(sizes, 0.9) <= 0.20


def test_runs_that_ran_are_not_called_impossible_and_runs_that_ran_out_of_memory_never_fit() -> None:
    ran = [row.verdict() for row in rows() if row.outcome == "ran" and row.verdict()]
    failed = [row.verdict() for row in rows() if row.outcome == "oom" and row.verdict()]
    assert ran.count("no") / len(ran) <= 0.03
    assert failed
    assert "fits" not in failed


def test_every_public_calculator_errs_more() -> None:
    for quantity, others in ((heldout.PEAK, calculators.MEMORY), (heldout.RATE, calculators.SPEED)):
        shipped = {place: quantity.predict(row, None) for place, row in enumerate(rows()) if quantity.measured(row)}
        known = {place: value for place, value in shipped.items() if value is not None}
        ours = heldout.quantile(errors(quantity, known), 0.5)
        for name, calculator in others.items():
            theirs = sorted(
                abs(value / measured - 1)
                for row in rows()
                if (measured := quantity.measured(row)) and (value := calculator(row)) is not None
            )
            assert heldout.quantile(theirs, 0.5) > 2 * ours, name


def test_the_shipped_constants_are_those_that_the_measurements_give() -> None:
    assert TARGET.read_text(encoding="utf-8") == written(rows())


def test_every_constant_has_a_meaning_and_a_value() -> None:
    described: list[tuple[Mapping[str, float], dict[str, Constant]]] = [
        (CALIBRATION.memory, heldout.PEAK.constants),
        (CALIBRATION.speed, heldout.RATE.constants),
    ]
    for values, constants in described:
        assert list(values) == list(constants)
        assert all(constant.meaning and constant.before > 0 for constant in constants.values())


def test_a_fit_finds_the_constants_that_made_the_numbers_in_spite_of_an_odd_one() -> None:
    made = [((x, y), 3 * x + 0.5 * y, 1.0) for x in (1, 2, 5, 9) for y in (1, 4, 20, 70)]
    made[5] = (made[5][0], made[5][1] * 4, 1.0)
    constants = {"a": Constant(1.0, 5, "slope"), "b": Constant(1.0, 5, "slope")}
    found = fit(made, lambda point, values: values["a"] * point[0] + values["b"] * point[1], constants, rounds=30)
    assert found == pytest.approx({"a": 3, "b": 0.5}, rel=0.03)


def test_a_constant_without_spread_is_not_fitted() -> None:
    made = [((x,), 3.0 * x, 1.0) for x in (1, 2, 5)]
    constants = {"a": Constant(1.0, 5, "slope"), "b": Constant(1.0, 0, "fixed")}
    found = fit(made, lambda point, values: values["a"] * values["b"] * point[0], constants)
    assert found["b"] == 1
    assert found["a"] == pytest.approx(3, rel=0.05)


def test_equations_are_solved() -> None:
    assert solve([[0, 2, 1], [1, 1, 0], [3, 0, 1]], [7, 3, 6]) == pytest.approx([1, 2, 3])


def test_the_command_prints_one_object_per_row(tmp_path: Path) -> None:
    known = [dict(row.raw) for row in rows() if row.scored_memory and row.scored_speed][:2]
    sized = {**known[0], "id": "sized", "gpu": "24GB"}
    bare = {"id": "bare", "source": "x", "gpu": "T4", "mem_kind": "reserved"}
    guessed = {**known[0], "id": "guessed", "arch": None, "params_b": 7.0}
    file = tmp_path / "rows.json"
    file.write_text(json.dumps([*known, sized, bare, guessed]), encoding="utf-8")
    command = [sys.executable, "-m", "tests.benchmarks.estimator", str(file), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    printed: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["id"] for one in printed] == [known[0]["id"], known[1]["id"], "sized", "bare", "guessed"]
    assert all(set(one) == {"id", "peak_gb", "tokens_per_s_per_gpu", "verdict"} for one in printed)
    assert printed[0]["peak_gb"] > 0 < printed[0]["tokens_per_s_per_gpu"]
    assert printed[2]["tokens_per_s_per_gpu"] is None
    assert printed[2]["peak_gb"] > 0
    assert printed[2]["verdict"] in {"fits", "tight", "no"}
    assert (printed[3]["peak_gb"], printed[3]["tokens_per_s_per_gpu"], printed[3]["verdict"]) == (None, None, None)
    assert printed[4]["peak_gb"] > 0


def test_what_is_measured_as_allocated_is_predicted_below_what_the_whole_process_takes() -> None:
    raw = dict(next(row.raw for row in rows() if row.scored_memory))
    kinds = [as_object(read_row({**raw, "mem_kind": kind}))["peak_gb"] for kind in ("allocated", "reserved", "process")]
    assert kinds == sorted(kinds, key=lambda known: float(str(known)))
    assert len(set(kinds)) == 3


def test_a_row_of_trls_own_trainers_counts_what_the_method_holds() -> None:
    raw = {"framework": "trl", "arch": "qwen3-0.6b", "peft": "full", "seq_len": 1024, "batch_size_per_device": 4}
    peaks = {method: read_row({**raw, "method": method}).peak_gb() or 0.0 for method in ("sft", "dpo", "orpo")}
    assert peaks["sft"] < peaks["dpo"] < peaks["orpo"]
    assert read_row({**raw, "parallelism": "zero-3", "n_gpus": 2, "lora_targets": "q_proj, v_proj"}).peak_gb()


def test_the_report_says_so_where_nothing_can_be_scored() -> None:
    assert "no row" in report([], rows(), heldout.PEAK, {})


def test_a_file_that_is_no_list_of_rows_is_refused_with_where_the_format_stands(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"rows": 3}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"docs/calibration/README\.md"):
        read_rows(tmp_path / "x.json")


def test_every_prediction_is_a_number_above_zero() -> None:
    for row in rows():
        for value in (row.peak_gb(), row.tokens_per_s()):
            assert value is None or (value > 0 and math.isfinite(value))
