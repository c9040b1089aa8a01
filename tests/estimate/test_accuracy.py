"""The estimates against published measurements, and the command that shows it."""

import json
import math
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks import calculators, heldout
from tests.benchmarks.calibrate import TARGET, written
from tests.benchmarks.constants import Constant
from tests.benchmarks.counted import as_asked, cases, count
from tests.benchmarks.estimator import as_object, report
from tests.benchmarks.fitting import fit, solve
from tests.benchmarks.measurements import CALIBRATION_DATA, Row, read_row, read_rows
from trl_mcp.estimate.calibration import CALIBRATION

MEASUREMENTS = CALIBRATION_DATA / "measurements.json"


@cache
def rows() -> list[Row]:
    return read_rows(MEASUREMENTS)


@cache
def counted() -> list[Row]:
    return read_rows(CALIBRATION_DATA / "counted.json")


def errors(quantity: heldout.Quantity, found: Mapping[int, float]) -> list[float]:
    return sorted(abs(value / (quantity.measured(rows()[place]) or 0) - 1) for place, value in found.items())


def test_peak_memory_of_sources_and_families_never_seen_is_within_5_percent_at_the_median_and_15_at_the_90th() -> None:
    sizes = errors(heldout.PEAK, heldout.held_out(rows(), rows(), heldout.PEAK))
    assert len(sizes) > 180
    assert heldout.quantile(sizes, 0.5) <= 0.05
    assert heldout.quantile(sizes, 0.9) <= 0.15


@pytest.mark.parametrize("method", sorted({str(row.raw["method"]) for row in counted()}))
def test_what_trls_trainers_hold_is_told_within_5_percent_at_the_median_and_15_at_the_90th(method: str) -> None:
    pairs = [(row.peak_gb() or 0.0, row.scored_memory or 0.0) for row in counted() if row.raw["method"] == method]
    sizes = sorted(abs(predicted / held - 1) for predicted, held in pairs)
    assert len(sizes) >= 6
    assert heldout.quantile(sizes, 0.5) <= 0.05
    assert heldout.quantile(sizes, 0.9) <= 0.15


@pytest.mark.training
def test_what_was_counted_is_counted_again(training_python: str) -> None:
    chosen = [case for case in cases() if case.id.startswith(("sft-lora-qwen3-0.6b-256x4", "dpo-full-tinyllama-512x4"))]
    held = {row.id: row.scored_memory for row in counted()}
    for found in count([as_asked(case) for case in chosen], training_python):
        assert found["peak"] / 1e9 == pytest.approx(held[found["id"]], rel=1e-3)


@pytest.mark.training
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_count_is_the_same_whether_everything_is_computed_or_only_allocated(
    method: str, training_python: str
) -> None:
    asked = as_asked(next(case for case in cases() if case.method == method and case.tuning == "full"))
    config = asked["architecture"]["config"] | {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2}
    small = asked | {"length": 128, "architecture": {"name": "small", "config": config | {"vocab_size": 2000}}}
    hollow, computed = count([small, small | {"large": 10**12}], training_python)
    assert hollow["peak"] == pytest.approx(computed["peak"], rel=1e-3)


@pytest.mark.parametrize("part", ["weights", "gradients", "optimizer"])
def test_every_part_that_stays_is_told_within_3_percent(part: str) -> None:
    for row in counted():
        predicted = row.memory()
        assert predicted
        found = getattr(predicted, part) + (predicted.frozen if part == "weights" else 0)
        held = row.raw["counted"][part] / 1e9
        assert found == pytest.approx(held, rel=0.03, abs=0.01), row.id


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


_ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**30),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["2,048", "24GB", "24 GiB card", "yes", "full", "bf16", "NaN", "zero-3", "fsdp", "lora", "4bit"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)
_FIELDS = sorted({name for row in read_rows(MEASUREMENTS) for name in row.raw} | {"layers", "judges", "answers"})


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_row_with_any_field_missing_or_odd_is_read_and_told_what_can_be(data: st.DataObject) -> None:
    raw = dict(data.draw(st.sampled_from([row.raw for row in rows()[::7] + counted()[::9]])))
    for name in data.draw(st.lists(st.sampled_from(_FIELDS), min_size=1, max_size=6, unique=True)):
        raw[name] = data.draw(_ODD)
        if data.draw(st.booleans()):
            del raw[name]
    row = read_row(raw)
    told = as_object(row)
    for name in ("peak_gb", "tokens_per_s_per_gpu"):
        value = cast(float | None, told[name])
        assert value is None or (value >= 0 and math.isfinite(value))
    assert told["verdict"] in {None, "fits", "tight", "no"}
    assert row.outcome in {"ran", "oom", ""}
    json.dumps(told, default=str)


def test_numbers_written_as_text_are_read_as_numbers() -> None:
    raw = dict(next(row.raw for row in rows() if row.scored_memory and row.scored_speed))
    numbers = ("seq_len", "batch_size_per_device", "grad_accum", "lora_r", "peak_mem_gb", "tokens_per_s", "avg_tokens")
    written = raw | {name: f"{raw[name]:,}" for name in numbers if raw.get(name)}
    assert as_object(read_row(written)) == as_object(read_row(raw))
    assert read_row(written).scored_memory == raw["peak_mem_gb"]


def test_a_model_is_known_by_its_name_where_no_architecture_is_told() -> None:
    raw = {"peft": "lora", "seq_len": 1024, "params_b": 4.0, "framework": "trl", "gpu": "L40S"}
    named = [read_row(raw | {"model": model}).shape for model in ("Qwen/Qwen3-4B-Base", "unsloth/Qwen3-4B-bnb-4bit")]
    known = read_row(raw | {"arch": "qwen3-4b"}).shape
    assert named == [known, known]
    guessed = read_row(raw | {"model": "someone/mine"}).shape
    assert guessed
    assert guessed.guessed


@pytest.mark.parametrize(
    ("fields", "stack"),
    [
        ({"framework": "torchtitan"}, "compiled"),
        ({"framework": "NeMo AutoModel"}, "compiled"),
        ({"source": "torchtitan 2026-03"}, "compiled"),
        ({"framework": "litgpt"}, "litgpt"),
        ({"framework": "hf-eager", "source": "PEFT benchmark 2026"}, "trl"),
        ({"framework": "hf-eager", "source": "ms-swift docs"}, "hf-2023"),
        ({"source": "a blog"}, "trl"),
        ({}, "trl"),
    ],
)
def test_the_code_that_trained_is_told_by_its_framework_or_by_where_it_was_published(
    fields: dict[str, str], stack: str
) -> None:
    assert read_row({"peft": "full", "seq_len": 1024, "params_b": 7.0, **fields}).setup.stack == stack


def test_a_file_that_is_no_list_of_rows_is_refused_with_where_the_format_stands(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"rows": 3}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"docs/calibration/README\.md"):
        read_rows(tmp_path / "x.json")


def test_every_prediction_is_a_number_above_zero() -> None:
    for row in rows():
        for value in (row.peak_gb(), row.tokens_per_s()):
            assert value is None or (value > 0 and math.isfinite(value))
