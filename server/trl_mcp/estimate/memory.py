"""Peak memory of a training on one device: its parts, the verdict against a card, the most that fits. GB are 10^9."""

from collections.abc import Mapping
from dataclasses import dataclass

from trl_mcp.estimate.activations import passes
from trl_mcp.estimate.calibration import CALIBRATION
from trl_mcp.estimate.setup import Setup
from trl_mcp.estimate.states import states
from trl_mcp.values import ModelShape

_GB = 1e9
#: How far measured peaks lay above predicted ones on rows not used for fitting: 95 of 100 below 1.2 times.
MARGIN = 1.2


@dataclass(frozen=True, slots=True)
class Memory:
    """The peak on one device in GB, part by part. `serving` is what an inference server beside the training takes."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    frozen: float
    serving: float
    buffers: float
    overhead: float
    context: float

    @property
    def allocated(self) -> float:
        """What the training itself asks for (torch.cuda.max_memory_allocated)."""
        return self.reserved - self.overhead

    @property
    def reserved(self) -> float:
        """With what lies unused between the blocks (torch.cuda.max_memory_reserved)."""
        return self.process - self.context

    @property
    def process(self) -> float:
        """All that the card shows: with the CUDA context and its libraries."""
        return sum(self.parts().values())

    def parts(self) -> dict[str, float]:
        """Return every part by name."""
        return {name: getattr(self, name) for name in self.__slots__}


def peak(
    shape: ModelShape, setup: Setup, usable_gb: float = float("inf"), memory: Mapping[str, float] = CALIBRATION.memory
) -> Memory:
    """Return the peak of a training on a card with so much usable memory.

    The passes and the optimizer's step never need room at once. What lies unused between blocks is given back before
    a card is full, so it ends at the card's size.
    """
    kept, step = states(shape, setup, memory), passes(shape, setup, memory)
    height = max(step.stored + step.working, kept.passing, cache_bytes(shape, setup))
    logits = min(step.logits, step.working)
    asked = (kept.total + height) / _GB
    unused = _unused(step.stored, step.working, setup, memory) + (step.stored + step.working - height) / _GB
    room = max(0.0, memory["full"] * usable_gb - memory["context_gb"] - asked)
    return Memory(
        weights=kept.weights / _GB,
        gradients=kept.gradients / _GB,
        optimizer=kept.optimizer / _GB,
        activations=(height - logits) / _GB,
        logits=logits / _GB,
        frozen=setup.frozen_gb,
        serving=setup.server_share * usable_gb if setup.server_share else 0.0,
        buffers=kept.buffers / _GB,
        overhead=min(room, memory["reserved_gb"] + max(0.0, unused)),
        context=memory["context_gb"],
    )


def cache_bytes(shape: ModelShape, setup: Setup) -> float:
    """Return the bytes of keys and values while Transformers generates: 16 bits for each token, layer and head."""
    return 4.0 * setup.answers * setup.length * shape.layers * shape.kv_heads * shape.head_dim


def _unused(stored: float, working: float, setup: Setup, memory: Mapping[str, float]) -> float:
    """Return what the allocator holds unused: more where every batch is of another length and leaves its own blocks."""
    if not setup.varied:
        return memory["unused"] * (stored + working) / _GB
    kept = stored if setup.checkpointing else 0.0
    return memory["unused_varied"] * min(1.0, (2048 / setup.length) ** 0.5) * (working + kept) / _GB


def verdict(needed_gb: float, usable_gb: float) -> str:
    """Return fits (with a fifth to spare), tight, or no."""
    if needed_gb * MARGIN <= usable_gb:
        return "fits"
    return "tight" if needed_gb <= usable_gb else "no"
