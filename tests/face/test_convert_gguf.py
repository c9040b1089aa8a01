"""What convert_gguf makes of its arguments before anything starts."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Connect
from tests.face.answer import answer_of
from tests.face.conftest import Ask, Refuses
from trl_mcp.estimate.conversion import ConversionSize
from trl_mcp.render.script import read_run

pytestmark = pytest.mark.anyio

CONFIG = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 16}


def write_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Write a safetensors file whose tensors are zeros of 16 bits."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(end))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model folder with everything but sense."""
    return write_model(tmp_path / "models" / "tiny", CONFIG)


def write_model(folder: Path, config: Mapping[str, object], tokens: int = 16) -> Path:
    """Write a model folder."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text("{}", encoding="utf-8")
    words: dict[str, Any] = {"vocab": {f"w{number}": number for number in range(tokens)}}
    (folder / "tokenizer.json").write_text(json.dumps({"model": words, "added_tokens": []}), encoding="utf-8")
    write_tensors(folder / "model.safetensors", {"model.embed_tokens.weight": (16, 8), "lm_head.weight": (16, 8)})
    return folder


def write_adapter(folder: Path, base: str, **changes: object) -> Path:
    """Write an adapter folder."""
    folder.mkdir(parents=True)
    config = {"peft_type": "LORA", "base_model_name_or_path": base} | changes
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    write_tensors(folder / "adapter_model.safetensors", {"lora_A": (8, 8)})
    return folder


async def test_a_dry_run_says_what_is_made_of_what(ask: Ask, connect_newest: Connect, model: Path) -> None:
    result = (await ask("convert_gguf", model=str(model), quantizations=["q4_k_m", "F16"], dry_run=True)).result
    assert result["status"] == "planned"
    assert result["recipe"].startswith("tiny (2.56e-07 B parameters) as Q4_K_M, F16")
    assert "GB of memory" in result["data"]
    async with connect_newest() as client:
        (content,) = (await client.read_resource(result["script_uri"])).contents
    run = read_run(getattr(content, "text", ""))
    assert (run["model"], run["name"], run["quantizations"]) == (str(model), "tiny", ["Q4_K_M", "F16"])
    assert len(result["plan_id"]) > 5


async def test_the_order_of_types_and_their_case_make_no_other_run(ask: Ask, model: Path) -> None:
    scripts = [
        (await ask("convert_gguf", model=str(model), quantizations=names, dry_run=True)).result["script_uri"]
        for names in (["Q8_0", "F16"], ["q8_0", "F16", "Q8_0"])
    ]
    assert scripts[0] == scripts[1]


async def test_an_adapter_is_planned_with_its_base(
    ask: Ask, connect_newest: Connect, model: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "models" / "adapter", str(model))
    result = (await ask("convert_gguf", model=str(adapter), dry_run=True)).result
    assert result["recipe"].startswith("adapter on tiny (2.56e-07 B parameters) as Q4_K_M, Q8_0")
    async with connect_newest() as client:
        answer = answer_of(await client.call_tool("convert_gguf", {"model": str(adapter), "dry_run": True}))
    assert answer.result["plan_id"] == result["plan_id"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"quantizations": ["Q4_KM"]}, ['"Q4_KM"', 'Did you mean "Q4_K_M"?', "Q8_0"]),
        ({"quantizations": ["IQ2_XS"]}, ["IQ2_XS needs an importance matrix", "Q2_K"]),
        ({"quantizations": []}, ["quantizations is empty"]),
        ({"base_model": "owner/base"}, ["tiny is a whole model and needs no base_model"]),
        ({"model": "/nowhere/at/all"}, ["There is no model folder"]),
        ({"quantisations": ["Q8_0"]}, ['Did you mean "quantizations"?']),
        ({"hardware": "cpu-basic"}, ["stay offline"]),
    ],
    ids=["misspelt", "matrix", "none", "needless base", "no folder", "unknown argument", "offline"],
)
async def test_arguments_that_cannot_be_meant_are_refused(
    refuses: Refuses, model: Path, arguments: dict[str, Any], words: list[str]
) -> None:
    await refuses([*words, "Nothing was started."], "convert_gguf", **{"model": str(model)} | arguments)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"architectures": ["BertModel"]}, ["gguf.not_causal", "no causal language model"]),
        ({"architectures": ["OPTForCausalLM"]}, ["gguf.architecture", "does not convert OPTForCausalLM"]),
        ({"quantization_config": {"quant_method": "awq"}}, ["gguf.quantized", "16 bits"]),
    ],
    ids=["encoder", "unsupported", "few bits"],
)
async def test_a_config_that_speaks_against_a_conversion_is_a_finding(
    refuses: Refuses, tmp_path: Path, config: dict[str, Any], words: list[str]
) -> None:
    folder = write_model(tmp_path / "models" / "other", CONFIG | config)
    await refuses(words, "convert_gguf", model=str(folder))


async def test_a_tokenizer_larger_than_the_embeddings_is_a_finding(refuses: Refuses, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "models" / "grown", CONFIG, tokens=18)
    await refuses(["gguf.vocabulary", "18 tokens", "16 embeddings"], "convert_gguf", model=str(folder))


async def test_an_adapter_whose_base_is_gone_is_refused(refuses: Refuses, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "models" / "adapter", str(tmp_path / "gone"))
    words = ['"gone", is not where it was', "base_model", "Nothing was started."]
    await refuses(words, "convert_gguf", model=str(adapter))


async def test_an_adapter_of_another_type_is_a_finding(refuses: Refuses, model: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "models" / "adapter", str(model), peft_type="IA3")
    await refuses(["gguf.adapter", "type IA3"], "convert_gguf", model=str(adapter))


async def test_weights_that_are_cut_off_are_refused(refuses: Refuses, model: Path) -> None:
    (model / "model.safetensors").write_bytes(b"\x40\0\0\0\0\0\0\0{")
    await refuses(["no safetensors file, or only the beginning"], "convert_gguf", model=str(model))


@pytest.mark.parametrize(
    ("billions", "ram_gb", "disk_gb"), [(8.0, 32, 50), (32.0, 124, 1000), (70.0, 256, 1024)], ids=["8B", "32B", "70B"]
)
def test_models_fit_the_machines_that_they_were_measured_for(billions: float, ram_gb: float, disk_gb: float) -> None:
    size = ConversionSize(round(billions * 1e9), 2, ("Q4_K_M", "Q5_K_M", "Q8_0"), is_adapter=True)
    assert size.ram_bytes < ram_gb * 1e9
    assert size.disk_bytes(keeps_files=False) < disk_gb * 1e9


def test_time_grows_with_size_and_shrinks_with_cores() -> None:
    small, large = (ConversionSize(round(each * 1e9), 2, ("Q4_K_M", "Q8_0"), is_adapter=True) for each in (1, 8))
    assert small.timeout_s(8) < large.timeout_s(8) < large.timeout_s(2)
    assert large.timeout_s(8) % 300 == 0
