"""Which checkpoint a run goes on from."""

import json
import zipfile
from pathlib import Path

import pytest

from tests.templates.job_modules import load_shared

checkpoints = load_shared("checkpoints")


def write_safetensors(path: Path) -> None:
    """Write a file of weights with one tensor of four bytes."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "__metadata__": {}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0\0\0")


def write_state(path: Path) -> None:
    """Write a file as torch.save does: a zip."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"state" * 100)


def write_checkpoint(folder: Path, step: int, weights: str = "model.safetensors") -> Path:
    """Write a whole checkpoint."""
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    write_safetensors(path / weights)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        write_state(path / name)
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}), encoding="utf-8")
    return path


def test_the_highest_step_wins(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, 9)
    newest = write_checkpoint(tmp_path, 10, "adapter_model.safetensors")
    (tmp_path / "checkpoint-best").mkdir()
    assert checkpoints.newest_complete_checkpoint(tmp_path) == newest


def test_a_run_without_checkpoints_starts_afresh(tmp_path: Path) -> None:
    assert checkpoints.newest_complete_checkpoint(tmp_path / "missing") is None


@pytest.mark.parametrize(
    "name", ["model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"]
)
@pytest.mark.parametrize("length", [None, 0, 5, -1])
def test_a_checkpoint_with_a_missing_or_torn_file_is_passed_over(tmp_path: Path, name: str, length: int | None) -> None:
    whole = write_checkpoint(tmp_path, 5)
    torn = write_checkpoint(tmp_path, 10) / name
    content = torn.read_bytes()
    torn.unlink()
    if length is not None:
        torn.write_bytes(content[:length])
    assert checkpoints.newest_complete_checkpoint(tmp_path) == whole


def test_every_shard_must_be_there(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, 5, "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    assert not checkpoints.is_complete(path)
    write_safetensors(path / "model-00002-of-00002.safetensors")
    assert checkpoints.is_complete(path)


def test_the_random_state_of_every_process_must_be_whole(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path, 5)
    (path / "rng_state.pth").rename(path / "rng_state_0.pth")
    assert checkpoints.is_complete(path)
    (path / "rng_state_1.pth").touch()
    assert not checkpoints.is_complete(path)
