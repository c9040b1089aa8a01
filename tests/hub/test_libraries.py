"""datasets, transformers and pyarrow over the emulated Hub, each in its own process."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

from tests.hub import EmulatedHub
from tests.hub.support import Clients

needs_datasets = pytest.mark.skipif(find_spec("datasets") is None, reason="datasets is not installed")
needs_transformers = pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")


@needs_datasets
def test_datasets_load_stream_and_push(hub: EmulatedHub, clients: Clients) -> None:
    rows = "".join(json.dumps({"prompt": f"q{n}", "completion": f"a{n}"}) + "\n" for n in range(20))
    hub.add_repo("acme/qa", {"train.jsonl": rows, "test.jsonl": rows}, repo_type="dataset")
    code = """
        import json
        from datasets import load_dataset
        loaded = load_dataset("acme/qa", split="train")
        stream = load_dataset("acme/qa", split="train", streaming=True)
        first = next(iter(stream))
        loaded.push_to_hub("alice/copy", private=True)
        again = load_dataset("alice/copy", split="train")
        print(json.dumps([loaded.num_rows, first, again[19], again.column_names]))
    """
    result = clients.python(code)
    assert result == [
        20,
        {"prompt": "q0", "completion": "a0"},
        {"prompt": "q19", "completion": "a19"},
        ["prompt", "completion"],
    ]
    assert "data/train-00000-of-00001.parquet" in hub.list_files("alice/copy", repo_type="dataset")


def test_pyarrow_reads_single_columns_by_range(hub: EmulatedHub, clients: Clients) -> None:
    code = """
        import json, os, pyarrow as pa, pyarrow.parquet as pq
        from huggingface_hub import HfApi, HfFileSystem
        api = HfApi()
        api.create_repo("alice/wide", repo_type="dataset")
        heavy = [os.urandom(20_000) for _ in range(200)]
        pq.write_table(pa.table({"heavy": heavy, "n": list(range(200))}), "wide.parquet", compression="none")
        api.upload_file(path_or_fileobj="wide.parquet", path_in_repo="data/train.parquet",
                        repo_id="alice/wide", repo_type="dataset")
        with HfFileSystem().open("datasets/alice/wide/data/train.parquet", block_size=65536) as f:
            table = pq.ParquetFile(f).read(columns=["n"])
        print(json.dumps([table.num_rows, sum(table["n"].to_pylist())]))
    """
    assert clients.python(code) == [200, 19900]
    ranges = [entry for entry in hub.requests("*/resolve/*", "GET") if entry.status == 206]
    assert ranges


@needs_transformers
def test_transformers_push_and_load_a_tokenizer_and_a_config(hub: EmulatedHub, clients: Clients) -> None:
    code = """
        import json
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config
        words = Tokenizer(models.WordLevel({"<unk>": 0, "hello": 1, "world": 2}, unk_token="<unk>"))
        words.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
        tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} {% endfor %}"
        tokenizer.push_to_hub("alice/tiny")
        Qwen3Config(hidden_size=8, num_hidden_layers=1, vocab_size=3).push_to_hub("alice/tiny")
        config = AutoConfig.from_pretrained("alice/tiny")
        loaded = AutoTokenizer.from_pretrained("alice/tiny")
        text = loaded.apply_chat_template([{"role": "user", "content": "hello world"}], tokenize=False)
        print(json.dumps([config.model_type, config.hidden_size, loaded("hello world")["input_ids"], text]))
    """
    assert clients.python(code) == ["qwen3", 8, [1, 2], "hello world "]
    assert {"config.json", "tokenizer.json", "chat_template.jinja"} <= set(hub.list_files("alice/tiny"))
