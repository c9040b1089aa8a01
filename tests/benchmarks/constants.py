"""The measured constants of the estimates: what each means, its value before any fit, how far a fit may move it.

A spread is that of a log-normal: 0.1 lets measurements move a constant by some ten percent, more if many agree. The
values before the fit come from data sheets, papers and the code that is estimated; they and the formulas were settled
with docs/calibration/measurements.json in view.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Constant:
    """A measured constant. Spread 0: not fitted."""

    before: float
    spread: float
    meaning: str


MEMORY = {
    "kept": Constant(1, 0.05, "what a layer keeps for its backward pass, over what is counted"),
    "layer": Constant(1, 0.2, "what passes while a layer is at work, over what is counted"),
    "adapter": Constant(1, 0.1, "what adapters keep of their inputs, over what is counted"),
    "eager": Constant(8.4, 0.15, "16-bit copies of the scores of one layer in its eager backward pass"),
    "eager_kept": Constant(3.5, 0.3, "16-bit copies of the scores that an eager layer keeps"),
    "litgpt_4bit": Constant(3.5, 0.3, "bytes per input number that LitGPT's 4-bit layers keep besides"),
    "compiled": Constant(0.55, 0, "share of a layer's activations that compiled code keeps"),
    "logits_plain": Constant(14, 0.1, "bytes per logit in Transformers: 2 + 4 + 4 + 4"),
    "logits_online": Constant(11, 0.1, "the same in Online DPO: 6 in 16 bits, 5 in float32 for answers alone"),
    "logits_pairs": Constant(12, 0.1, "the same in ORPO and CPO, half of whose rows have a cross entropy"),
    "logits_twice": Constant(68, 0.1, "the same in GKD, whose divergence of student and teacher is taken in float32"),
    "logits_early": Constant(18, 0.15, "before 4.40, which copied shifted float32 logits"),
    "logits_remote": Constant(12, 0.1, "model code of 2023 that keeps 16 bits until the loss"),
    "logits_half": Constant(8, 0.15, "the same without autocast"),
    "logits_litgpt": Constant(10, 0.3, "LitGPT, whose head works in pieces"),
    "logits_compiled": Constant(6, 0.3, "compiled or otherwise fused loss"),
    "logits_chunked": Constant(0.5, 0, "Liger, Unsloth and other heads in pieces"),
    "unused": Constant(0.08, 0.7, "share of the passes that the allocator holds unused, lengths being equal"),
    "unused_varied": Constant(2.2, 0.5, "the same where every batch has another length, up to 2048 tokens"),
    "reserved_gb": Constant(0.2, 0.7, "what the allocator holds unused of the rest"),
    "context_gb": Constant(0.9, 0.3, "CUDA context, cuBLAS, loaded kernels"),
    "full": Constant(0.97, 0, "share of a card at which unused blocks are given back"),
    "deepspeed_gb": Constant(1.4, 0.4, "DeepSpeed's buckets"),
    "zero_step": Constant(5, 0.3, "bytes per number of a group of 10^9 in ZeRO-3's optimizer step"),
}

SPEED = {
    "matrices_t4": Constant(0.28, 0.1, "share of the peak in large products: 70 W allow a third"),
    "matrices_l4": Constant(0.28, 0, "72 W likewise"),
    "matrices_ampere": Constant(0.8, 0.08, "cuBLAS on A100"),
    "matrices_ada": Constant(0.7, 0.1, "L40S, RTX 4090"),
    "matrices_hopper": Constant(0.62, 0.08, "cuBLAS on H100 at its power limit"),
    "matrices_blackwell": Constant(0.6, 0, "not measured: as Hopper"),
    "attention_t4": Constant(0.4, 0.2, "efficiency of attention over that of products; memory-efficient kernels"),
    "attention_l4": Constant(0.5, 0, "FlashAttention-2"),
    "attention_ampere": Constant(0.65, 0.2, "FlashAttention-2: half to two thirds of the peak"),
    "attention_ada": Constant(0.6, 0, "FlashAttention-2"),
    "attention_hopper": Constant(0.5, 0.2, "FlashAttention-2 does not use all of Hopper"),
    "attention_blackwell": Constant(0.5, 0, "as Hopper"),
    "triton": Constant(1.4, 0.2, "times as long with the Triton attention of 2023"),
    "narrow": Constant(1.2, 0.1, "times as long with heads of 64 and less: FlashAttention-2, figures 4 and 5"),
    "short": Constant(0.5, 0.5, "length in 1000 tokens at which attention takes twice its share"),
    "elements": Constant(15, 0.15, "times each kept byte is moved in Transformers' layers"),
    "elements_fused": Constant(10, 0.15, "the same in fused training code"),
    "compiled": Constant(0.75, 0.2, "share left by torch.compile"),
    "adapter": Constant(3, 0.2, "kept bytes per number that an adapter reads"),
    "wide": Constant(1.8, 0.2, "float32 between the layers"),
    "logits": Constant(20, 0.3, "bytes moved per whole logit"),
    "eager": Constant(85, 0.3, "bytes moved per eager score"),
    "nf4": Constant(4, 0.3, "times the 16-bit weights are moved to unpack nf4"),
    "gptq": Constant(13, 0.3, "the same for GPTQ"),
    "launch": Constant(0.75e-3, 0.3, "seconds to start the kernels of a layer once, 2025"),
    "launch_2023": Constant(1.45e-3, 0.3, "the same with the stacks of 2023"),
    "deepspeed": Constant(2.4, 0.2, "times as many with the hooks of ZeRO-3"),
    "launch_overlap": Constant(2.5, 0.3, "exponent: how well starting kernels hides behind computing"),
    "link_overlap": Constant(1.6, 0.2, "exponent: the same for communication"),
    "link": Constant(0.5, 0.4, "share of a link's bandwidth that collectives reach"),
    "link_latency_s": Constant(1e-6, 0.5, "seconds per layer, device and collective"),
    "optimizer": Constant(30, 0.3, "bytes moved per number in an optimizer's step"),
    "fp8": Constant(1.3, 0.1, "speed-up of products in 8 bits"),
}


def before(constants: dict[str, Constant]) -> dict[str, float]:
    """Return the values before any fit."""
    return {name: constant.before for name, constant in constants.items()}
