"""The constants of the estimates that were measured, not derived: written by `python -m tests.benchmarks.calibrate`.

What each means and what it was before the fit stands in tests/benchmarks/constants.py.
"""

from types import MappingProxyType

from trl_mcp.estimate.setup import Calibration

CALIBRATION = Calibration(
    memory=MappingProxyType(
        {
            "kept": 0.9996,
            "layer": 0.9919,
            "adapter": 0.9926,
            "eager": 8.586,
            "eager_kept": 3.443,
            "litgpt_4bit": 3.395,
            "compiled": 0.55,
            "logits_plain": 14.1,
            "logits_online": 11.0,
            "logits_pairs": 12.0,
            "logits_twice": 68.0,
            "logits_early": 18.04,
            "logits_remote": 12.08,
            "logits_half": 7.901,
            "logits_litgpt": 9.666,
            "logits_compiled": 6.134,
            "logits_chunked": 0.5,
            "unused": 0.0795,
            "unused_varied": 2.339,
            "reserved_gb": 0.2058,
            "context_gb": 0.8981,
            "full": 0.97,
            "deepspeed_gb": 1.372,
            "zero_step": 5.053,
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
