"""Peak memory of a training on one device: its parts, the verdict against a card, the most that fits. GB are 10^9."""

from collections.abc import Mapping
from dataclasses import dataclass

from trl_mcp.estimate.activations import Passes, passes
from trl_mcp.estimate.calibration import CALIBRATION
from trl_mcp.estimate.setup import Setup
from trl_mcp.estimate.states import States, states
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

    What lies unused between blocks is given back before a card is full, so it ends at the card's size.
    """
    kept, step = states(shape, setup, memory), passes(shape, setup, memory)
    height = max(_height(shape, setup, kept, step), kept.gradients + kept.passing, cache_bytes(shape, setup))
    logits = min(step.head, height - kept.gradients)
    asked = (kept.weights + kept.optimizer + kept.buffers + height) / _GB
    unused = _unused(step.stored, step.working, setup, memory)
    room = max(0.0, memory["full"] * usable_gb - memory["context_gb"] - asked)
    return Memory(
        weights=kept.weights / _GB,
        gradients=kept.gradients / _GB,
        optimizer=kept.optimizer / _GB,
        activations=(height - kept.gradients - logits) / _GB,
        logits=logits / _GB,
        frozen=setup.frozen_gb,
        serving=setup.server_share * usable_gb if setup.server_share else 0.0,
        buffers=kept.buffers / _GB,
        overhead=min(room, memory["reserved_gb"] + max(0.0, unused)),
        context=memory["context_gb"],
    )


def _height(shape: ModelShape, setup: Setup, kept: States, step: Passes) -> float:
    """Return the most that gradients and passes take together.

    The Trainer frees gradients after each step, so where one pass makes a step they come while activations go: when the
    backward pass begins there are none, when it reaches the first layer all but those of the embedding. What is
    spread has room for them all along.
    """
    begun = step.stored + step.working
    if setup.accumulation > 1 or setup.strategy not in {"single_gpu", "multi_gpu"}:
        return kept.gradients + begun
    if setup.tuning != "full":
        return max(begun, kept.gradients + step.layer)
    table = float(setup.trained_bytes * shape.embedding)
    if shape.tied and step.head:  # the gradients of head and embedding are one, and added up
        return max(begun, kept.gradients + max(step.layer, 2 * table))
    return max(begun, max(0.0, kept.gradients - table) + step.layer)


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
