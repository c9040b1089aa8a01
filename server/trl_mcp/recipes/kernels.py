"""How a model is loaded: with which attention, and whether its layers are computed by kernels from the Hub."""

from collections.abc import Mapping
from typing import cast

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.trainer_arguments import ArgumentField, read_value
from trl_mcp.schema import shorten

LOADING = "model_init_kwargs"
_ATTENTION = ArgumentField("attn_implementation", ("str",))
_KERNELS = ArgumentField("use_kernels", ("bool",))
_FIELDS = {field.name: field for field in (_ATTENTION, _KERNELS)}
_OWN = ("sdpa", "eager", "flex_attention")
# Kernels are compiled code, and this organisation on the Hub is that of its makers.
_PUBLISHER = "kernels-community/"
FLASH = f"{_PUBLISHER}flash-attn2"
_FLASH_OF_HOPPER = f"{_PUBLISHER}flash-attn3"
# What Transformers takes in place of the packages that these names stand for.
_RENAMED = {"flash_attention_2": FLASH, f"{_PUBLISHER}flash-attn": FLASH, "flash_attention_3": _FLASH_OF_HOPPER}


def with_loading(trainer_args: Mapping[str, object]) -> dict[str, object]:
    """Return the arguments with attn_implementation and use_kernels in model_init_kwargs, where trainers read them.

    Raises InvalidArguments for what they cannot be, and for two values of one.
    """
    rest = dict(trainer_args)
    asked = {name: read_value(field, rest.pop(name)) for name, field in _FIELDS.items() if name in rest}
    given = read_value(ArgumentField(LOADING, ("dict", "null")), rest[LOADING]) if LOADING in rest else None
    loading = cast(dict[str, object], given or {})
    for name, value in asked.items():
        if loading.setdefault(name, value) != value:
            raise InvalidArguments(
                f"{name} is {value}, and {LOADING} says {shorten(loading[name])}.",
                next_step="Give it once. Nothing was started.",
            )
    if (named := loading.get(_ATTENTION.name)) is not None:
        loading[_ATTENTION.name] = _known_attention(str(named))
    return rest | ({LOADING: loading} if loading else {})


def asks_for_kernels(config: Mapping[str, object]) -> bool:
    """Tell whether a model is loaded with kernels from the Hub, for its attention or for its layers."""
    return bool(_loading(config).get(_KERNELS.name)) or "/" in attention(config)


def attention(config: Mapping[str, object]) -> str:
    """Return the attention that a trainer's config asks for; empty where that is left open."""
    return str(_loading(config).get(_ATTENTION.name) or "")


def _loading(config: Mapping[str, object]) -> Mapping[str, object]:
    given = config.get(LOADING)
    return cast(Mapping[str, object], given) if isinstance(given, dict) else {}


def _known_attention(value: str) -> str:
    value = _RENAMED.get(value, value)
    if value in _OWN or value.startswith(_PUBLISHER):
        return value
    raise InvalidArguments(
        f"attn_implementation cannot be {shorten(value)}.",
        allowed=f"It is {', '.join(_OWN)}, or kernels of {_PUBLISHER[:-1]} on the Hub, such as "
        f"{FLASH} (GPUs from Ampere on) or {_FLASH_OF_HOPPER} (Hopper).",
        next_step="Left out it is sdpa, on every device. Nothing was started.",
    )
