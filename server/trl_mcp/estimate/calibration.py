"""The constants of the estimates that were measured, not derived: written by `python -m tests.benchmarks.calibrate`.

What each means and what it was before the fit stands in tests/benchmarks/constants.py.
"""

from types import MappingProxyType

from trl_mcp.estimate.setup import Calibration

CALIBRATION = Calibration(
    memory=MappingProxyType(
        {
            "rms_norm": 13.81,
            "layer_norm": 5.812,
            "layer": 1.186,
            "adapter": 0.9416,
            "eager": 8.399,
            "eager_kept": 3.444,
            "litgpt_4bit": 3.227,
            "compiled": 0.55,
            "logits_plain": 14.09,
            "logits_twice": 28.0,
            "logits_early": 18.13,
            "logits_remote": 12.1,
            "logits_half": 7.949,
            "logits_litgpt": 9.438,
            "logits_compiled": 6.129,
            "logits_chunked": 0.5,
            "unused": 0.08304,
            "unused_varied": 2.338,
            "reserved_gb": 0.2169,
            "context_gb": 0.9196,
            "full": 0.97,
            "deepspeed_gb": 1.425,
            "zero_step": 5.054,
        }
    ),
    speed=MappingProxyType(
        {
            "matrices_t4": 0.2785,
            "matrices_l4": 0.28,
            "matrices_ampere": 0.7902,
            "matrices_ada": 0.7183,
            "matrices_hopper": 0.6129,
            "matrices_blackwell": 0.6,
            "attention_t4": 0.3991,
            "attention_l4": 0.5,
            "attention_ampere": 0.6426,
            "attention_ada": 0.6,
            "attention_hopper": 0.4771,
            "attention_blackwell": 0.5,
            "triton": 1.458,
            "narrow": 1.199,
            "short": 0.4979,
            "elements": 15.5,
            "elements_fused": 9.99,
            "compiled": 0.7335,
            "adapter": 3.029,
            "wide": 1.902,
            "logits": 20.08,
            "eager": 87.39,
            "nf4": 4.142,
            "gptq": 12.76,
            "launch": 0.0007499,
            "launch_2023": 0.001466,
            "deepspeed": 2.473,
            "launch_overlap": 2.452,
            "link_overlap": 1.466,
            "link": 0.4159,
            "link_latency_s": 9.992e-07,
            "optimizer": 29.76,
            "fp8": 1.3,
        }
    ),
)
