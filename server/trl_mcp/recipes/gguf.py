"""What a GGUF file can be made of, and of which types: facts of llama.cpp 0.5.0."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.schema import shorten
from trl_mcp.values import Finding, Severity

DEFAULT_QUANTIZATIONS = ("Q4_K_M", "Q8_0")
# Bits per weight, of Llama-3.1-8B: tools/quantize/README.md.
BITS_PER_WEIGHT = {
    "Q2_K": 3.16,
    "Q3_K_S": 3.64,
    "Q3_K_M": 4.00,
    "Q3_K_L": 4.30,
    "IQ4_XS": 4.46,
    "Q4_K_S": 4.67,
    "IQ4_NL": 4.68,
    "Q4_K_M": 4.89,
    "Q5_K_S": 5.57,
    "Q5_K_M": 5.70,
    "Q6_K": 6.56,
    "Q8_0": 8.50,
    "F16": 16.0,
    "BF16": 16.0,
}
# Core seconds to quantise 10^9 parameters, measured on x86-64; what is not listed is taken as the slowest K type.
QUANTIZE_CORE_SECONDS = {
    "Q8_0": 3,
    "F16": 3,
    "BF16": 3,
    "Q3_K_M": 26,
    "Q6_K": 26,
    "Q5_K_M": 40,
    "IQ4_XS": 166,
    "IQ4_NL": 166,
}
SLOWEST_K_CORE_SECONDS = 46
_NEEDS_MATRIX = (
    "IQ1_S",
    "IQ1_M",
    "IQ2_XXS",
    "IQ2_XS",
    "IQ2_S",
    "IQ2_M",
    "IQ3_XXS",
    "IQ3_XS",
    "IQ3_S",
    "IQ3_M",
    "Q2_K_S",
)
# Those of TEXT_MODEL_MAP in conversion/__init__.py that write text; of models that also see, the text part.
_ARCHITECTURES = """
AfmoeForCausalLM ApertusForCausalLM ArceeForCausalLM ArcticForCausalLM BaiChuanForCausalLM BaichuanForCausalLM
BailingMoeForCausalLM BailingMoeV2ForCausalLM BailingMoeV3ForCausalLM BambaForCausalLM BitNetForCausalLM
BitnetForCausalLM BloomForCausalLM ChameleonForCausalLM ChameleonForConditionalGeneration CodeShellForCausalLM
Cohere2ForCausalLM Cohere2MoeForCausalLM CohereForCausalLM DbrxForCausalLM DeciLMForCausalLM DeepseekForCausalLM
DeepseekV2ForCausalLM DeepseekV32ForCausalLM DeepseekV3ForCausalLM DeepseekV4ForCausalLM Dots1ForCausalLM
Dots3NoteForCausalLM Dots3NoteForConditionalGeneration Dots3NoteTextForCausalLM Ernie4_5ForCausalLM
Ernie4_5_ForCausalLM Ernie4_5_MoeForCausalLM Exaone4ForCausalLM Exaone4_5_ForConditionalGeneration
ExaoneForCausalLM ExaoneMoEForCausalLM ExaoneMoeForCausalLM FalconForCausalLM FalconH1ForCausalLM
FalconMambaForCausalLM GPT2LMHeadModel GPTBigCodeForCausalLM GPTNeoXForCausalLM GPTRefactForCausalLM
Gemma2ForCausalLM Gemma3ForCausalLM Gemma3ForConditionalGeneration Gemma3nForCausalLM
Gemma3nForConditionalGeneration Gemma4ForCausalLM Gemma4ForConditionalGeneration
Gemma4UnifiedForConditionalGeneration GemmaForCausalLM Glm4ForCausalLM Glm4MoeForCausalLM Glm4MoeLiteForCausalLM
Glm4vForConditionalGeneration Glm4vMoeForConditionalGeneration GlmForCausalLM GlmMoeDsaForCausalLM
GptOssForCausalLM GraniteForCausalLM GraniteMoeForCausalLM GraniteMoeHybridForCausalLM GraniteMoeSWAForCausalLM
GraniteMoeSharedForCausalLM GraniteSWAForCausalLM GraniteSwitchForCausalLM Grok1ForCausalLM GrokForCausalLM
GroveMoeForCausalLM HYV3ForCausalLM HYV4ForCausalLM HrmTextForCausalLM HunYuanDenseV1ForCausalLM
HunYuanMoEV1ForCausalLM HunYuanVLForConditionalGeneration IQuestCoderForCausalLM InternLM2ForCausalLM
InternLM3ForCausalLM JAISLMHeadModel Jais2ForCausalLM JambaForCausalLM JanusForConditionalGeneration
KORMoForCausalLM KimiK25ForConditionalGeneration KimiK3ForConditionalGeneration KimiLinearForCausalLM
KimiVLForConditionalGeneration LFM2ForCausalLM LLaMAForCausalLM LagunaForCausalLM Lfm2ForCausalLM
Lfm2MoeForCausalLM Llama4ForCausalLM Llama4ForConditionalGeneration LlamaForCausalLM
LlavaForConditionalGeneration MPTForCausalLM MaincoderForCausalLM Mamba2ForCausalLM MambaForCausalLM
MambaLMHeadModel MapleForCausalLM MellumForCausalLM MiMoV2FlashForCausalLM MiMoV2ForCausalLM MiniCPM3ForCausalLM
MiniCPMForCausalLM MiniCPMV4_6ForConditionalGeneration MiniMaxM1ForCausalLM MiniMaxM2ForCausalLM
MiniMaxM3SparseForCausalLM MiniMaxM3SparseForConditionalGeneration MiniMaxText01ForCausalLM
Ministral3ForCausalLM Mistral3ForConditionalGeneration MistralForCausalLM MixtralForCausalLM
MuseGlimmerForConditionalGeneration NanbeigeForCausalLM NemotronForCausalLM NemotronHForCausalLM
NemotronHPuzzleForCausalLM OLMoForCausalLM Olmo2ForCausalLM Olmo3ForCausalLM OlmoForCausalLM OlmoeForCausalLM
OpenELMForCausalLM OrionForCausalLM PLMForCausalLM PLaMo2ForCausalLM PLaMo3ForCausalLM PanguEmbeddedForCausalLM
Phi3ForCausalLM PhiForCausalLM PhiMoEForCausalLM Plamo2ForCausalLM Plamo3ForCausalLM PlamoForCausalLM
QWenLMHeadModel Qwen2ForCausalLM Qwen2MoeForCausalLM Qwen2VLForConditionalGeneration
Qwen2_5_VLForConditionalGeneration Qwen3ForCausalLM Qwen3MoeForCausalLM Qwen3NextForCausalLM
Qwen3OmniMoeForConditionalGeneration Qwen3VLForConditionalGeneration Qwen3VLMoeForConditionalGeneration
Qwen3_5ForCausalLM Qwen3_5ForConditionalGeneration Qwen3_5MoeForCausalLM Qwen3_5MoeForConditionalGeneration
Qwen4ExpForCausalLM Qwen4ExpForConditionalGeneration RWForCausalLM RWKV6Qwen2ForCausalLM RWKV7ForCausalLM
Rwkv6ForCausalLM Rwkv7ForCausalLM RwkvHybridForCausalLM SarvamMoEForCausalLM SeedOssForCausalLM
SmallThinkerForCausalLM SmolLM3ForCausalLM SolarOpenForCausalLM Spark2_5ForCausalLM StableLMEpochForCausalLM
StableLmForCausalLM Starcoder2ForCausalLM Step3p5ForCausalLM Step3p7ForConditionalGeneration
StepVLForConditionalGeneration TalkieForCausalLM XverseForCausalLM YoutuForCausalLM
YoutuVLForConditionalGeneration
"""
ARCHITECTURES = frozenset(_ARCHITECTURES.split())

_FEW_BITS = re.compile(r"(?:-unsloth)?-bnb-4bit$")


def checked_quantizations(names: Iterable[str]) -> tuple[str, ...]:
    """Return the types by their own names, each once. Raises InvalidArguments for one that cannot be made."""
    found: list[str] = []
    for given in names:
        name = given.strip().upper()
        if name in _NEEDS_MATRIX:
            raise InvalidArguments(
                f"{name} needs an importance matrix, which is computed from sample text and is not made here.",
                allowed=f"Types that need none: {', '.join(BITS_PER_WEIGHT)}.",
                next_step="Q2_K and Q3_K_M are the smallest of these. Nothing was started.",
            )
        if name not in BITS_PER_WEIGHT:
            raise InvalidArguments(
                f'quantizations cannot hold "{shorten(given)}".{_meant(name)}',
                allowed=f"Types: {', '.join(BITS_PER_WEIGHT)}.",
                next_step="Nothing was started.",
            )
        found.append(name)
    if not found:
        raise InvalidArguments(
            "quantizations is empty.", next_step='For example ["Q4_K_M", "Q8_0"]. Nothing was started.'
        )
    return tuple(dict.fromkeys(found))


def _meant(name: str) -> str:
    near = difflib.get_close_matches(name, BITS_PER_WEIGHT, n=1)
    return f' Did you mean "{near[0]}"?' if near else ""


def conversion_findings(name: str, config: Mapping[str, object]) -> list[Finding]:
    """Return why a model with this config.json cannot become a GGUF file; nothing where nothing speaks against it."""
    listed = config.get("architectures")
    architectures = cast(list[object], listed) if isinstance(listed, list) else []
    architecture = str(architectures[0]) if architectures else "none named"
    is_causal = architecture.endswith(("ForCausalLM", "LMHeadModel", "ForConditionalGeneration"))
    found: list[Finding] = []
    if config.get("is_encoder_decoder") or not is_causal:
        message = f"{name} ({architecture}) is no causal language model; a GGUF file is made of those only."
        found.append(Finding("gguf.not_causal", Severity.ERROR, message, "Name a model that writes text."))
    elif architecture not in ARCHITECTURES:
        message = f"{name}: llama.cpp 0.5.0 does not convert {architecture}."
        found.append(
            Finding("gguf.architecture", Severity.ERROR, message, "Run the model with transformers or vLLM instead.")
        )
    elif "vision_config" in config or "audio_config" in config:
        message = f"{name} also sees or hears; only its text part becomes a GGUF file."
        found.append(Finding("gguf.text_only", Severity.WARNING, message))
    if config.get("quantization_config"):
        message = f"{name} is kept in few bits, from which no GGUF file can be made."
        found.append(
            Finding("gguf.quantized", Severity.ERROR, message, "Name the model in 16 bits that it was made from.")
        )
    return found


def later_obstacle(name: str, config: Mapping[str, object]) -> str | None:
    """Return why what is trained from this model could not become a GGUF file; None where nothing is known against it.

    That the model itself is kept in few bits is no obstacle: an adapter is merged into the one in 16 bits.
    """
    plain = {key: value for key, value in config.items() if key != "quantization_config"}
    found = conversion_findings(name, plain)
    return next((finding.message for finding in found if finding.severity is Severity.ERROR), None)


def sixteen_bit_twin(name: str) -> str:
    """Return the name of the model in 16 bits that one in 4 bits was made from, where its name tells; else the name."""
    return _FEW_BITS.sub("", name)
