"""What leaves the server is cleaned: terminal codes, folded progress bars, secrets by value and by shape."""

import re
from collections.abc import Iterable

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_TOKEN = re.compile(r"\b(?:hf_|sk-|ghp_|github_pat_|xox[bp]-)[A-Za-z0-9_-]{16,}\b")
_SHORTEST_SECRET = 8
MASK = "***"


def clean_line(line: str, secrets: Iterable[str] = ()) -> str:
    """Return a log line without terminal codes and secrets; of a line redrawn in place the last state."""
    line = line.rstrip("\r").rpartition("\r")[2]
    return mask(_CONTROL.sub("", _ANSI.sub("", line)), secrets)


def mask(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text with the secrets in it, and what has the shape of a token, replaced by `***`."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, MASK)
    return _TOKEN.sub(MASK, text)
