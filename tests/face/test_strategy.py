"""Strategies and engines that this machine, a method or a tuning cannot have: refused before anything starts."""

import pytest

from tests.face.conftest import Refuses

pytestmark = pytest.mark.anyio
LOCAL = {"hardware": "local"}


@pytest.mark.parametrize("strategy", ["multi_gpu", "fsdp2", "zero3"])
async def test_a_machine_without_several_gpus_spreads_nothing(refuses_training: Refuses, strategy: str) -> None:
    words = f"strategy {strategy} is for several GPUs, and local has none."
    await refuses_training(words, **LOCAL, trainer_args=[f"strategy={strategy}"])


async def test_an_unknown_strategy_is_refused_with_those_there_are(refuses_training: Refuses) -> None:
    words = ['Did you mean "fsdp2"?', "single_gpu, multi_gpu, fsdp1, fsdp2, zero1, zero2 or zero3"]
    await refuses_training(*words, **LOCAL, trainer_args=["strategy=fsdp"])


async def test_a_tuning_that_cannot_be_spread_is_refused_with_what_works(refuses_training: Refuses) -> None:
    words = ["weights in 4 bits are not spread over GPUs", "zero1, zero2"]
    await refuses_training(*words, **LOCAL, tuning="qlora", trainer_args=["strategy=fsdp2"])


async def test_vllm_without_a_gpu_is_refused(refuses_training: Refuses) -> None:
    given = {**LOCAL, "method": "grpo", "rewards": ["think_format_reward"], "trainer_args": ["use_vllm=true"]}
    await refuses_training("use_vllm needs GPUs from Ampere on, and local has none.", **given)


async def test_a_vllm_server_is_refused_with_the_reason(refuses_training: Refuses) -> None:
    given = {**LOCAL, "method": "grpo", "rewards": ["think_format_reward"]}
    await refuses_training(
        "it needs a vLLM server on other GPUs", **given, trainer_args=["use_vllm=true", "vllm_mode=server"]
    )


async def test_foreign_kernels_are_refused(refuses_training: Refuses) -> None:
    await refuses_training(
        "kernels of kernels-community on the Hub", **LOCAL, trainer_args=["attn_implementation=me/x"]
    )
