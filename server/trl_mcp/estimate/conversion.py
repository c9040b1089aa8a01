"""What a conversion to GGUF needs: memory, disk and time, from the size of the model."""

import math
from dataclasses import dataclass

from trl_mcp.recipes.gguf import BITS_PER_WEIGHT, QUANTIZE_CORE_SECONDS, SLOWEST_K_CORE_SECONDS

# Packages, tools and the logits that files are compared by.
_FIXED_RAM = 2.5e9
_FIXED_DISK = 5e9
_FIXED_S = 240
# A merge holds the tensors that it changes twice: 1.35 times the weights at its peak, measured.
_MERGE_RAM = 1.35
_DOWNLOAD_BYTES_S = 50e6
_UPLOAD_BYTES_S = 25e6
_LOAD_AND_CONVERT_S = 51  # for 10^9 parameters, measured
_PROBE_TOKENS = 520
_ANSWER_TOKENS = 288
_CORE_FLOPS = 15e9
_MEMORY_BYTES_S = 8e9
_USED_SHARE = 0.85
_RESERVE = 2
_LEAST_TIMEOUT_S = 1200
_STEP_S = 300


@dataclass(frozen=True, slots=True)
class ConversionSize:
    """What is converted: `parameters` numbers of `bytes_each` bytes, an adapter on a base or a whole model."""

    parameters: int
    bytes_each: float
    quantizations: tuple[str, ...]
    is_adapter: bool

    @property
    def weights_bytes(self) -> float:
        """The bytes of the unquantised weights."""
        return self.parameters * self.bytes_each

    @property
    def files_bytes(self) -> float:
        """The bytes of all files that are made, taken together."""
        return sum(file_bytes(self.parameters, each) for each in self.quantizations)

    @property
    def ram_bytes(self) -> float:
        """The memory that the job needs at its peak."""
        return self.weights_bytes * (_MERGE_RAM if self.is_adapter else 1) + _FIXED_RAM

    def disk_bytes(self, *, keeps_files: bool) -> float:
        """Return the disk that the job needs at its peak; files that are pushed do not stay on it."""
        largest = max(file_bytes(self.parameters, each) for each in self.quantizations)
        made = self.files_bytes if keeps_files else largest
        return max(2 * self.weights_bytes, self.weights_bytes + made) + _FIXED_DISK

    def timeout_s(self, cores: int) -> int:
        """Return twice the time that the job is expected to take on so many cores, in whole five minutes."""
        seconds = _RESERVE * _conversion_seconds(self, cores)
        return max(_LEAST_TIMEOUT_S, math.ceil(seconds / _STEP_S) * _STEP_S)


def file_bytes(parameters: int, quantization: str) -> float:
    """Return the size of a file of this type."""
    return parameters * BITS_PER_WEIGHT[quantization] / 8


def _conversion_seconds(size: ConversionSize, cores: int) -> float:
    billions = size.parameters / 1e9
    moved = size.weights_bytes / _DOWNLOAD_BYTES_S + size.files_bytes / _UPLOAD_BYTES_S
    made = _LOAD_AND_CONVERT_S * billions + _asking_s(size, size.weights_bytes, cores)
    return _FIXED_S + moved + made + sum(_file_s(size, each, cores) for each in size.quantizations)


def _file_s(size: ConversionSize, quantization: str, cores: int) -> float:
    work = QUANTIZE_CORE_SECONDS.get(quantization, SLOWEST_K_CORE_SECONDS) * size.parameters / 1e9
    return work / (cores * _USED_SHARE) + _asking_s(size, file_bytes(size.parameters, quantization), cores)


def _asking_s(size: ConversionSize, held_bytes: float, cores: int) -> float:
    """Return the time to run a model on what files are compared by."""
    read = 2 * size.parameters * _PROBE_TOKENS / (_CORE_FLOPS * cores)
    return read + _ANSWER_TOKENS * held_bytes / _MEMORY_BYTES_S
