"""What a tool answered, as a model and as a program read it."""

from dataclasses import dataclass
from typing import Any

from mcp.types import CallToolResult, TextContent


@dataclass(frozen=True)
class Answer:
    """The text, and the structured result, which is empty after an error."""

    is_error: bool
    text: str
    result: dict[str, Any]


def answer_of(result: CallToolResult) -> Answer:
    """Return the answer in a result of one text."""
    (content,) = result.content
    assert isinstance(content, TextContent)
    return Answer(bool(result.is_error), content.text, result.structured_content or {})
