"""The most that fits is solved: it fits, one more does not, and nothing larger leaves more room."""

import math
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.estimate.shapes import A10G, A100, CPU, H200, L40S, MACHINES, T4, job, shape
from trl_mcp.estimate.duration import Job
from trl_mcp.estimate.largest import largest_batch, largest_length
from trl_mcp.estimate.machine import usable_gb
from trl_mcp.estimate.memory import peak, verdict
from trl_mcp.estimate.options import option, setup_for
from trl_mcp.values import Flavor

CARDS = st.sampled_from((T4, A10G, L40S, A100, H200))
MODELS = ("qwen3-0.6b", "qwen3-1.7b", "qwen3-4b", "qwen3-8b", "qwen3-14b", "qwen3-32b")
TUNING = st.sampled_from(("lora", "qlora", "full"))
METHOD = st.sampled_from(("sft", "dpo", "grpo", "ppo", "gkd"))


def fits(name: str, method: str, card: Flavor, tuning: str, *, rows: int, tokens: int) -> bool:
    known = shape(name)
    setup = setup_for(known, job(method, longest=tokens), card, tuning, rows)
    return verdict(peak(known, setup, usable_gb(card)).process, usable_gb(card)) == "fits"


@settings(max_examples=60)
@given(st.sampled_from(MODELS), METHOD, CARDS, TUNING, st.integers(64, 40_000))
def test_the_largest_batch_fits_and_one_row_more_does_not(
    name: str, method: str, card: Flavor, tuning: str, tokens: int
) -> None:
    most = largest_batch(shape(name), job(method, longest=tokens), card, tuning)
    assert most == 0 or fits(name, method, card, tuning, rows=most, tokens=tokens)
    assert not fits(name, method, card, tuning, rows=most + 1, tokens=tokens)


@settings(max_examples=60)
@given(st.sampled_from(MODELS), METHOD, CARDS, TUNING)
def test_the_largest_length_fits_and_one_token_more_does_not(name: str, method: str, card: Flavor, tuning: str) -> None:
    def fits_somehow(tokens: int) -> bool:
        """A step of one large pass holds no gradients beside activations, one of many small ones does."""
        return any(fits(name, method, card, tuning, rows=rows, tokens=tokens) for rows in (1, 2, 4, 8, 16))

    most = largest_length(shape(name), job(method), card, tuning)
    assert most == 0 or fits_somehow(most)
    assert most == shape(name).context or not fits_somehow(most + 1)


@settings(max_examples=60)
@given(st.integers(0, len(MODELS) - 2), CARDS, TUNING, st.integers(16, 8192), st.integers(0, 8192))
def test_a_larger_model_or_longer_rows_never_leave_room_for_more(
    number: int, card: Flavor, tuning: str, tokens: int, more: int
) -> None:
    small, large = (shape(MODELS[number + step]) for step in (0, 1))
    rows = largest_batch(small, job(longest=tokens), card, tuning)
    assert largest_batch(small, job(longest=tokens + more), card, tuning) <= rows
    assert largest_batch(large, job(longest=tokens), card, tuning) <= rows
    assert largest_length(large, job(), card, tuning) <= largest_length(small, job(), card, tuning)


def test_a_known_card_holds_what_a_practitioner_expects() -> None:
    """LoRA of 8B in 16 bits at some 2,000 tokens on 24 GB, QLoRA at more than four times that, nothing of 70B."""
    assert 1500 < largest_length(shape("qwen3-8b"), job(), A10G, "lora") < 4096
    assert largest_length(shape("qwen3-8b"), job(), A10G, "qlora") > 8192
    assert largest_length(shape("llama-3-70b"), job(), A10G, "qlora") == 0


JOBS = st.builds(
    job,
    METHOD,
    rows=st.integers(1, 10**7),
    tokens_per_row=st.floats(1, 4096),
    longest=st.just(4096),
    batch_size=st.integers(1, 512),
)


@settings(max_examples=100)
@given(st.sampled_from(MODELS), JOBS, st.sampled_from(MACHINES), TUNING)
def test_nine_in_ten_take_no_less_than_half_and_started_minutes_are_paid(
    name: str, asked: Job, machine: Flavor, tuning: str
) -> None:
    found = option(shape(name), asked, machine, tuning)
    taken = found.duration
    assert taken is not None
    assert found.usd_expected is not None
    assert found.usd_p90 is not None
    assert found.timeout_s is not None
    assert 0 < taken.expected <= taken.late < found.timeout_s
    assert found.usd_expected <= found.usd_p90
    price = Decimal(machine.micro_usd_per_minute) / 1_000_000
    assert found.usd_expected == math.ceil(taken.expected / 60) * price
    assert found.timeout_s % 900 == 0


@pytest.mark.parametrize("tuning", ["lora", "full"])
def test_without_a_card_it_is_the_machines_memory_that_limits(tuning: str) -> None:
    rows = largest_batch(shape("qwen3-0.6b"), job(), CPU, tuning)
    assert 1 <= rows < largest_batch(shape("qwen3-0.6b"), job(), H200, tuning)
