"""What a model or data set is called: a Hub id, a URL, a path."""

from pathlib import Path

import pytest

from trl_mcp.recipes.references import DatasetReference, ModelReference, dataset_reference, model_reference


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("gpt2", ModelReference("gpt2")),
        ("Qwen/Qwen3-0.6B", ModelReference("Qwen/Qwen3-0.6B")),
        (" Qwen/Qwen3-0.6B@refs/pr/1 ", ModelReference("Qwen/Qwen3-0.6B", "refs/pr/1")),
        ("/models/tiny/", ModelReference("/models/tiny", is_folder=True)),
        ("file:///models/tiny", ModelReference("/models/tiny", is_folder=True)),
        ("/models/with space@1", ModelReference("/models/with space@1", is_folder=True)),
    ],
)
def test_a_model_is_read(text: str, reference: ModelReference) -> None:
    assert model_reference(text) == reference


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("trl-lib/Capybara", DatasetReference("trl-lib/Capybara")),
        ("openai/gsm8k:main", DatasetReference("openai/gsm8k", "main")),
        ("openai/gsm8k:main@abc123", DatasetReference("openai/gsm8k", "main", "abc123")),
        ("/data/train.jsonl", DatasetReference("/data/train.jsonl", is_path=True)),
        ("https://a.b/train.csv?raw=1", DatasetReference("https://a.b/train.csv?raw=1", is_url=True)),
    ],
)
def test_a_data_set_is_read(text: str, reference: DatasetReference) -> None:
    assert dataset_reference(text) == reference


def test_the_home_folder_may_be_abbreviated() -> None:
    assert dataset_reference("~/train.jsonl") == DatasetReference(str(Path.home() / "train.jsonl"), is_path=True)


@pytest.mark.parametrize(
    ("text", "name"),
    [("Qwen/Qwen3-0.6B", "Qwen3-0.6B"), ("/models/tiny", "tiny"), ("/home/jobs/sft-1/output", "sft-1")],
)
def test_a_model_has_a_short_name_for_people(text: str, name: str) -> None:
    assert model_reference(text).short_name == name


@pytest.mark.parametrize(
    ("text", "name"), [("a/b:c", "a/b"), ("/data/train.jsonl", "train.jsonl"), ("https://a.b/c/d.csv?x=1", "d.csv")]
)
def test_a_data_set_has_a_short_name_for_people(text: str, name: str) -> None:
    assert dataset_reference(text).short_name == name
