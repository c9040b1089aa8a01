"""The page of estimates says what the tool says, and what a practitioner expects."""

import re

import pytest

from tests.benchmarks.estimate_table import CARDS, PAGE, page

pytestmark = pytest.mark.anyio
_COST, _PEAK, _USD = 2 + len(CARDS), 3 + len(CARDS), 5 + len(CARDS)


async def test_the_page_is_fresh() -> None:
    """Run `python -m tests.benchmarks.estimate_table` where it is not."""
    assert PAGE.read_text(encoding="utf-8") == f"{await page()}\n"


def rows(method: str) -> dict[tuple[str, str], list[str]]:
    section = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (table,) = [part for part in section if part.startswith(f"{method}\n")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]
    return {(row[0], row[1]): row for row in cells[2:]}


def test_full_fine_tuning_of_8b_needs_more_than_48_gb_and_an_adapter_less() -> None:
    found = rows("sft")
    assert found["qwen3-8b", "full"][2:7] == ["no", "no", "no", "tight", "yes"]
    assert found["qwen3-8b", "lora"][2:7] == ["no", "yes", "yes", "yes", "yes"]
    assert found["llama-3-70b", "full"][_COST] == "none"
    assert found["llama-3-70b", "qlora"][_COST] == "h200"


def test_a_reference_makes_full_dpo_larger_than_sft_and_adapters_share_it() -> None:
    sft, dpo = rows("sft"), rows("dpo")
    for model in ("qwen3-0.6b", "qwen3-4b"):
        assert float(dpo[model, "full"][_PEAK]) > float(sft[model, "full"][_PEAK])
    assert dpo["qwen3-8b", "lora"][6] == "yes"


@pytest.mark.parametrize("method", ["sft", "dpo", "grpo"])
def test_a_larger_model_never_costs_less(method: str) -> None:
    found = rows(method)
    sizes = [model for model, tuning in found if tuning == "qlora"]
    prices = [float(found[model, "qlora"][_USD]) for model in sizes]
    assert prices == sorted(prices)


def test_answers_that_are_written_first_cost_many_times_what_given_ones_do() -> None:
    assert float(rows("grpo")["qwen3-8b", "lora"][_USD]) > 5 * float(rows("sft")["qwen3-8b", "lora"][_USD])
