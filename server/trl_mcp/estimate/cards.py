"""What accelerators can do: one table, from the makers' data sheets."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Card:
    """One accelerator: usable memory in GB, 16-bit and float32 TFLOP/s (dense), memory and link bandwidth in GB/s.

    `kind` is the family of chips that shares an efficiency; `bf16` whether it computes in bfloat16.
    """

    name: str
    usable_gb: float
    half_tflops: float
    float_tflops: float
    memory_gbs: float
    link_gbs: float
    kind: str
    bf16: bool = True


#: NVIDIA's data sheets: T4 (DS-09185), L4, A10 (AWS's A10G has 70 instead of 125 TFLOP/s), L40S, A100 (PCIe 40 GB:
#: 1555 GB/s), H100 and H200 SXM, B200, RTX PRO 6000 Blackwell server edition (bf16 not stated there: half of the sparse
#: figure of its FP8 rate), GeForce and RTX boards from the architecture white papers (float32 accumulation).
#: Usable memory: what the driver leaves of the size on the box (T4: 14,912 MiB as measured by fitcheck-llm 0.3.1).
_CARDS = (
    Card("T4", 15.6, 65, 8.1, 320, 10, "t4", bf16=False),
    Card("L4", 23.6, 121, 30, 300, 20, "l4"),
    Card("A10", 23.6, 125, 31, 600, 20, "ampere"),
    Card("A10G", 23.6, 70, 31, 600, 20, "ampere"),
    Card("L40S", 47.6, 362, 92, 864, 20, "ada"),
    Card("A100-40GB", 42.0, 312, 19.5, 1555, 300, "ampere"),
    Card("A100", 84.9, 312, 19.5, 2039, 300, "ampere"),
    Card("A800", 84.9, 312, 19.5, 2039, 200, "ampere"),
    Card("H100-500W", 101.0, 840, 57, 2400, 450, "hopper"),
    Card("H100", 84.9, 989, 67, 3350, 450, "hopper"),
    Card("H200", 149.0, 989, 67, 4800, 450, "hopper"),
    Card("B200", 191.0, 2250, 80, 8000, 900, "blackwell"),
    Card("RTX PRO 6000", 101.9, 504, 125, 1597, 32, "blackwell"),
    Card("RTX3090", 25.3, 71, 35.6, 936, 12, "ampere"),
    Card("RTX4090", 25.3, 165, 82.6, 1008, 20, "ada"),
    Card("RTX4070TiS", 16.8, 88, 44, 672, 12, "ada"),
    Card("A6000Ada", 51.0, 364, 91, 960, 20, "ada"),
    Card("A6000", 51.0, 155, 38.7, 768, 28, "ampere"),
    Card("A5000", 25.3, 111, 27.8, 768, 12, "ampere"),
    Card("V100", 33.9, 125, 15.7, 900, 150, "t4", bf16=False),
)
_BY_NAME: Mapping[str, Card] = MappingProxyType(
    {card.name.upper().replace(" ", "").replace("-", ""): card for card in _CARDS}
)
_RESERVED_SHARE = 0.015


def card_named(name: str, memory_gb: float | None = None) -> Card | None:
    """Return the card that a name means ("NVIDIA A100-SXM4-80GB", "a10g"); None where it is not in the table.

    `memory_gb` tells cards of one name apart: an A100 of 40 GB from one of 80.
    """
    asked = name.upper().replace(" ", "").replace("-", "").replace("_", "")
    if "A100" in asked and ("40GB" in asked or (memory_gb is not None and memory_gb < 60)):
        return _BY_NAME["A10040GB"]
    found = [key for key in _BY_NAME if key in asked]
    return _BY_NAME[max(found, key=len)] if found else None


def usable(size_gb: float) -> float:
    """Return what of a card's memory a job can use, for one that is not in the table; in GB, from its size in GiB."""
    return size_gb * 1.073741824 * (1 - _RESERVED_SHARE)
