"""Models, data sets and repositories to write to: pinned to commits, and what was meant where there is none."""

import json
from typing import Any

import pytest

from tests.hf.desk import Desk
from tests.hub import Fault
from trl_mcp.errors import AccessNotGranted, HubUnreachable, NotFound, TokenRejected
from trl_mcp.hub.values import OutputRepo

pytestmark = pytest.mark.anyio
CARD = "---\nlicense: apache-2.0\nbase_model: acme/base\n---\n"
CONFIG = json.dumps({"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]})
DATA_CARD = """---
configs:
- config_name: main
  data_files: [{split: train, path: a.jsonl}, {split: test, path: b.jsonl}]
dataset_info:
- config_name: main
  splits: [{name: ignored}]
- config_name: socratic
  splits: [{name: train}]
---
"""


async def test_a_model_is_described_at_its_commit(desk: Desk) -> None:
    old = desk.emulated.add_repo("acme/tiny", {"config.json": CONFIG, "README.md": CARD})
    new = desk.emulated.commit_files("acme/tiny", {"chat_template.jinja": "{{ messages }}"})
    token = desk.emulated.tokens["alice"]
    model = await desk.hub.model(token, "acme/tiny")
    assert (model.id, model.sha, model.private, model.gated) == ("acme/tiny", new, False, False)
    assert (model.licence, model.base_model, model.has_chat_template) == ("apache-2.0", "acme/base", True)
    assert (model.model_type, model.architectures) == ("qwen3", ("Qwen3ForCausalLM",))
    assert not model.is_adapter
    before = await desk.hub.model(token, "acme/tiny", old)
    assert (before.sha, before.has_chat_template) == (old, None)
    assert (await desk.hub.model(None, "acme/tiny", "main")).sha == new


@pytest.mark.parametrize(
    ("tokenizer", "expected"), [({"chat_template": "{{ x }}"}, True), ({"eos_token": "</s>"}, False), ("broken", None)]
)
async def test_a_chat_template_in_the_tokenizers_config_counts(desk: Desk, tokenizer: Any, expected: bool) -> None:
    content = "{" if tokenizer == "broken" else json.dumps(tokenizer)
    desk.emulated.add_repo("alice/m", {"config.json": CONFIG, "tokenizer_config.json": content}, private=True)
    assert (await desk.hub.model(desk.emulated.tokens["alice"], "alice/m")).has_chat_template is expected


async def test_an_adapter_is_seen_to_be_one(desk: Desk) -> None:
    desk.emulated.add_repo("alice/a", {"adapter_config.json": "{}", "adapter_model.safetensors": b"x"})
    assert (await desk.hub.model(desk.emulated.tokens["alice"], "alice/a")).is_adapter


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("acme/Tiny-Qwen3-0.6BB", "acme/Tiny-Qwen3-0.6B"),
        ("acne/Tiny-Qwen3-0.6B", "acme/Tiny-Qwen3-0.6B"),
        ("acme/tiny-qwen3-06b", "acme/Tiny-Qwen3-0.6B"),
        ("Tiny-Qwen3-0.6B", "acme/Tiny-Qwen3-0.6B"),
    ],
)
async def test_a_model_that_is_not_there_is_guessed(desk: Desk, asked: str, meant: str) -> None:
    for repo in ("acme/Tiny-Qwen3-0.6B", "acme/other", "bob/whatever"):
        desk.emulated.add_repo(repo)
    with pytest.raises(NotFound, match=f"no model {asked} .*Did you mean {meant}"):
        await desk.hub.model(desk.emulated.tokens["alice"], asked)


async def test_a_name_like_no_other_is_not_guessed_and_a_failing_search_is_no_failure(desk: Desk) -> None:
    token = desk.emulated.tokens["alice"]
    with pytest.raises(NotFound) as caught:
        await desk.hub.model(token, "zzz/qqqqqq")
    assert "Did you mean" not in str(caught.value)
    desk.emulated.faults.add(Fault("GET", "/api/datasets", status=500, times=100))
    with pytest.raises(NotFound, match="no data set zzz/qqqqqq"):
        await desk.hub.dataset(token, "zzz/qqqqqq")


async def test_a_private_repository_of_others_is_not_there_and_nobody_elses_is_suggested(desk: Desk) -> None:
    desk.emulated.add_repo("bob/secret-model", private=True)
    with pytest.raises(NotFound) as caught:
        await desk.hub.model(desk.emulated.tokens["alice"], "bob/secret-mode")
    assert "secret-model" not in str(caught.value)
    with pytest.raises(NotFound):
        await desk.hub.model(desk.emulated.tokens["alice"], "bob/secret-model")
    with pytest.raises(NotFound):
        await desk.hub.model(None, "bob/secret-model")


async def test_a_broken_token_is_no_missing_model(desk: Desk) -> None:
    desk.emulated.add_repo("acme/m")
    with pytest.raises(TokenRejected):
        await desk.hub.model(desk.emulated.tokens["broken"], "acme/m")


async def test_a_revision_that_is_not_there_is_named_with_those_that_are(desk: Desk) -> None:
    desk.emulated.add_repo("acme/m")
    with pytest.raises(NotFound, match=r'no revision "mian"\. Did you mean "main"\? Branches and tags: main'):
        await desk.hub.model(desk.emulated.tokens["alice"], "acme/m", "mian")
    desk.emulated.add_repo("acme/d", repo_type="dataset")
    with pytest.raises(NotFound, match='The data set acme/d has no revision "refs/pr/9"'):
        await desk.hub.dataset(desk.emulated.tokens["alice"], "acme/d", "refs/pr/9")


@pytest.mark.parametrize("kind", ["model", "dataset"])
async def test_a_gated_repository_names_the_page_to_accept_its_conditions_on(desk: Desk, kind: str) -> None:
    desk.emulated.add_repo("bob/gated", {"config.json": CONFIG}, repo_type=kind, gated="manual")
    ask = desk.hub.model if kind == "model" else desk.hub.dataset
    page = f"{desk.emulated.endpoint}/{'datasets/' if kind == 'dataset' else ''}bob/gated"
    for token in (desk.emulated.tokens["alice"], None):
        with pytest.raises(AccessNotGranted, match=f"is gated.*Accept them on {page} "):
            await ask(token, "bob/gated")
    desk.emulated.grant_access("bob/gated", "alice", repo_type=kind)
    assert (await ask(desk.emulated.tokens["alice"], "bob/gated")).gated


async def test_a_data_set_has_its_configs_and_splits_from_the_card(desk: Desk) -> None:
    sha = desk.emulated.add_repo("acme/gsm", {"README.md": DATA_CARD, "a.jsonl": "{}"}, repo_type="dataset")
    found = await desk.hub.dataset(desk.emulated.tokens["alice"], "acme/gsm")
    assert (found.sha, dict(found.configs)) == (sha, {"main": ("train", "test"), "socratic": ("train",)})
    assert "a.jsonl" in found.files
    desk.emulated.add_repo("acme/bare", {"a.jsonl": "{}"}, repo_type="dataset")
    assert (await desk.hub.dataset(desk.emulated.tokens["alice"], "acme/bare")).configs == {}


async def test_an_output_repository_tells_whose_run_it_holds_and_whether_it_may_be_written(desk: Desk) -> None:
    token = desk.emulated.tokens["alice"]
    assert await desk.hub.output_repo(token, "alice/new") == OutputRepo("alice/new", exists=False)
    desk.emulated.add_repo("alice/plain")
    plain = await desk.hub.output_repo(token, "alice/plain")
    assert (plain.exists, plain.run_key, plain.why_no_write) == (True, None, "")
    desk.emulated.add_repo("alice/mine", {"trl-mcp.json": json.dumps({"run_key": "abc"})})
    assert (await desk.hub.output_repo(token, "alice/mine")).run_key == "abc"


async def test_an_output_repository_of_others_or_with_a_reading_token_cannot_be_written(desk: Desk) -> None:
    desk.emulated.add_repo("bob/public")
    desk.emulated.add_repo("alice/m")
    foreign = await desk.hub.output_repo(desk.emulated.tokens["alice"], "bob/public")
    assert "may not write to bob/public" in foreign.why_no_write
    reading = await desk.hub.output_repo(desk.emulated.tokens["alice-read"], "alice/m")
    assert "repo.write" in reading.why_no_write


async def test_a_hub_in_trouble_is_no_missing_repository(desk: Desk) -> None:
    desk.emulated.faults.add(Fault("GET", "/api/models/*", status=503, times=100))
    for ask in (desk.hub.model, desk.hub.output_repo):
        with pytest.raises(HubUnreachable):
            await ask(desk.emulated.tokens["alice"], "acme/m")
