"""Types of arguments that several tools share."""

from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from trl_mcp.checks.registry import check_accepted
from trl_mcp.recipes.methods import METHODS
from trl_mcp.schema import Texts, did_you_mean


def _known_method(name: str) -> str:
    if name not in METHODS:
        raise ValueError(f"there is no such method.{did_you_mean(name, METHODS)} Allowed: {', '.join(METHODS)}")
    return name


def _known_codes(codes: tuple[str, ...]) -> tuple[str, ...]:
    check_accepted(codes)
    return codes


AcceptedCodes = Annotated[Texts, AfterValidator(_known_codes)]
MethodName = Annotated[str, AfterValidator(_known_method), WithJsonSchema({"type": "string", "enum": list(METHODS)})]
