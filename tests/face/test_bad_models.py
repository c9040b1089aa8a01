"""A model that is not there or cannot be trained is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.face.conftest import Ask, Refuses

pytestmark = pytest.mark.anyio


async def test_a_folder_that_is_not_there_is_refused(refuses_training: Refuses, tmp_path: Path) -> None:
    await refuses_training('no model folder "qwen"', "config.json", "Hub id", model=str(tmp_path / "qwen"))


@pytest.mark.parametrize("path", ["/dev/zero", "/etc/hostname"])
async def test_a_path_that_is_no_folder_is_refused(refuses_training: Refuses, path: str) -> None:
    await refuses_training(f'no model folder "{Path(path).name}"', model=path)


@pytest.mark.parametrize("model", ["./tiny", "../tiny", "a/b/c", "owner/na me", "http://localhost/model", "", "a b"])
async def test_what_is_neither_a_hub_id_nor_an_absolute_path_is_refused(refuses_training: Refuses, model: str) -> None:
    await refuses_training('"model"', model, "owner/name@revision", "working folder is not yours", model=model)


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("config.json", "config.json"),
        ("tokenizer_config.json", "tokenizer_config.json"),
        ("model.safetensors", "weights (*.safetensors)"),
    ],
)
async def test_a_folder_with_a_part_missing_is_refused_with_that_part(
    refuses_training: Refuses, model_folder: Path, missing: str, said: str
) -> None:
    (model_folder / missing).unlink()
    await refuses_training(f'The model folder "tiny" has no {said}.')


@pytest.mark.parametrize(
    ("content", "said"), [(b"{", "is not JSON"), (b"\xff\xfe", "is not JSON"), (b"[]", "is no JSON object")]
)
async def test_an_unreadable_config_is_refused(
    refuses_training: Refuses, model_folder: Path, content: bytes, said: str
) -> None:
    (model_folder / "config.json").write_bytes(content)
    await refuses_training(f'config.json in the model folder "tiny" {said}', "Mend it")


async def test_an_adapter_without_weights_or_without_its_base_is_refused(
    refuses_training: Refuses, model_folder: Path, tmp_path: Path
) -> None:
    config = model_folder / "adapter_config.json"
    config.write_text(json.dumps({"base_model_name_or_path": str(tmp_path / "gone")}), encoding="utf-8")
    await refuses_training('The adapter folder "tiny" has no weights')
    (model_folder / "adapter_model.safetensors").touch()
    await refuses_training('The base model of the adapter "tiny", "gone", is not where it was.')


async def test_an_adapter_is_taken_as_a_model(ask: Ask, training: dict[str, Any], tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": training["model"]}))
    (adapter / "adapter_model.safetensors").touch()
    answer = await ask("submit_training", **training | {"model": str(adapter)}, dry_run=True)
    assert answer.result["status"] == "planned", answer.text


@pytest.mark.parametrize("config", ['{"model_type": "t5"}', '{"model_type": "new", "is_encoder_decoder": true}'])
async def test_a_sequence_to_sequence_model_is_refused_with_what_can_be_trained(
    refuses_training: Refuses, model_folder: Path, config: str
) -> None:
    (model_folder / "config.json").write_text(config)
    call = 'submit_script(script="templates/seq2seq.py", script_args=["--model", ..., "--dataset", ...]'
    await refuses_training("sequence-to-sequence", "TRL has no trainer", "Decoder-only models", call)
