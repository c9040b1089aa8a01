"""What the header of a safetensors file says: https://huggingface.co/docs/safetensors/index#format."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

# Name -> type and shape.
Tensors = dict[str, tuple[str, tuple[int, ...]]]
LENGTH_BYTES = 8
_LONGEST = 100_000_000


def header_length(start: bytes) -> int:
    """Return how many bytes the header has that follows the first eight. Raises ValueError where there cannot be one."""
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if len(start) < LENGTH_BYTES or not 0 < length <= _LONGEST:
        raise ValueError("no safetensors file")
    return length


def parse_header(header: bytes) -> Tensors:
    """Return the tensors that a header names. Raises ValueError for anything else."""
    try:
        named: Any = json.loads(header)
        return {
            str(name): (str(entry["dtype"]), tuple(int(size) for size in entry["shape"]))
            for name, entry in named.items()
            if name != "__metadata__"
        }
    except (TypeError, KeyError, AttributeError):
        raise ValueError("no safetensors header") from None


def count_by_type(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> dict[str, int]:
    """Return how many numbers of each type are stored."""
    counts: Counter[str] = Counter()
    for dtype, shape in tensors.values():
        counts[dtype] += math.prod(shape)
    return dict(counts)
