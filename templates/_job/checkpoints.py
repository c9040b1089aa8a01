"""Checkpoints: which one to go on from. A kill or a full disk can leave the newest one half written."""

import json
import re
import zipfile
from pathlib import Path

CHECKPOINT_NAME = re.compile(r"checkpoint-(\d+)")
SINGLE_WEIGHTS = ("model.safetensors", "adapter_model.safetensors", "pytorch_model.bin", "adapter_model.bin")
SHARD_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
HEADER_SIZE_BYTES = 8
# What FSDP writes beside: the weights once more, or an adapter's, as it goes on from them.
FSDP_STATES = ("pytorch_model_fsdp.bin", "optimizer.bin")
ZERO_LATEST = "latest"


def newest_complete_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint with the highest step of which every file is whole, or None."""
    found = [path for path in folder.glob("checkpoint-*") if CHECKPOINT_NAME.fullmatch(path.name)]
    ranked = sorted(found, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True)
    return next((path for path in ranked if is_complete(path)), None)


def is_complete(checkpoint: Path) -> bool:
    """Tell whether training can go on from the checkpoint."""
    # The trainer writes its state last, so that this file alone settles most cases.
    if not isinstance(read_json_object(checkpoint / "trainer_state.json").get("global_step"), int):
        return False
    states = [*optimizer_states(checkpoint), checkpoint / "scheduler.pt", *random_states(checkpoint)]
    return has_whole_weights(checkpoint) and all(is_whole(path) for path in states)


def optimizer_states(checkpoint: Path) -> list[Path]:
    """List the files with the optimizer's state: one, that of FSDP with its weights, or a part of each process."""
    if (checkpoint / ZERO_LATEST).is_file():
        return zero_parts(checkpoint) or [checkpoint / "missing"]
    fsdp = [checkpoint / name for name in FSDP_STATES]
    return fsdp if any(path.is_file() for path in fsdp) else [checkpoint / "optimizer.pt"]


def zero_parts(checkpoint: Path) -> list[Path]:
    """List the files that DeepSpeed has written, a part of the states for each process and the model's."""
    latest = checkpoint / ZERO_LATEST
    folder = checkpoint / latest.read_text(encoding="utf-8").strip() if latest.is_file() else checkpoint / "missing"
    return sorted(folder.glob("*_states.pt"))


def check_process_count(checkpoint: Path | None, count: int) -> None:
    """End the job where DeepSpeed could not go on: it divides states among as many processes as wrote them."""
    parts = [path for path in zero_parts(checkpoint) if "optim" in path.name] if checkpoint else []
    if parts and len(parts) != count:
        raise SystemExit(
            f"the checkpoint was written on {len(parts)} GPUs, and DeepSpeed goes on from it on as many only, not on "
            f"{count}: take hardware with {len(parts)} GPUs"
        )


def random_states(checkpoint: Path) -> list[Path]:
    """List the files with the state of the random numbers: one, or one for each process."""
    return sorted(checkpoint.glob("rng_state_*.pth")) or [checkpoint / "rng_state.pth"]


def has_whole_weights(checkpoint: Path) -> bool:
    """Tell whether the weights are all there, in one file or in the shards that an index names."""
    single = [checkpoint / name for name in SINGLE_WEIGHTS if (checkpoint / name).is_file()]
    indexes = [checkpoint / name for name in SHARD_INDEXES if (checkpoint / name).is_file()]
    shards = [checkpoint / name for index in indexes for name in shard_names(index)]
    files = single + shards
    return bool(files) and all(is_whole(path) for path in files)


def shard_names(index: Path) -> list[str]:
    """List the files that an index names; an unreadable one names a file that cannot be there."""
    weight_map = read_json_object(index).get("weight_map")
    return sorted(set(weight_map.values())) if isinstance(weight_map, dict) else ["missing"]


def is_whole(path: Path) -> bool:
    """Tell whether a file of weights or state was written to its end."""
    if not path.is_file():
        return False
    return is_whole_safetensors(path) if path.suffix == ".safetensors" else zipfile.is_zipfile(path)


def is_whole_safetensors(path: Path) -> bool:
    """Tell whether the file is as long as the header at its beginning says."""
    with path.open("rb") as stream:
        header_size = int.from_bytes(stream.read(HEADER_SIZE_BYTES), "little")
        if header_size > path.stat().st_size:
            return False
        header = parse_json_object(stream.read(header_size))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    return bool(ends) and path.stat().st_size == HEADER_SIZE_BYTES + header_size + max(ends)


def read_json_object(path: Path) -> dict:
    """Return the object in a JSON file; an empty one where there is none."""
    return parse_json_object(path.read_bytes()) if path.is_file() else {}


def parse_json_object(text: bytes) -> dict:
    """Return the object that the text holds; an empty one where it holds none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
