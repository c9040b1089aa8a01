"""The header of a caller's script (PEP 723): read, checked, completed. Its text is kept as its author wrote it."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from trl_mcp.errors import InvalidArguments
from trl_mcp.schema import shorten

OLDEST_PYTHON = ">=3.11"
_TABLE = "hf-jobs"
_BLOCK = re.compile(r"(?m)^# /// script$\s(?P<content>(?:^#(?:| .*)$\s)*)^# ///$")
_BEGIN = re.compile(r"(?m)^# /// script$")
_TABLE_LINE = re.compile(r"# \s*\[tool\.hf-jobs(?:\.[^\]]*)?\]")
_ANY_TABLE_LINE = re.compile(r"# \s*\[+[A-Za-z\"']")
_FIRST_LINES = re.compile(r"(?:#!.*\n)?(?:#.*coding[:=].*\n)?")
_LIST = re.compile(r"(?m)^# [ \t]*dependencies[ \t]*=[ \t]*\[")
_NOTHING_STARTED = "Nothing was started."


@dataclass(frozen=True, slots=True)
class JobTable:
    """What `[tool.hf-jobs]` says of how a script is run; `unused` are its keys that play no part here."""

    image: str = ""
    flavor: str = ""
    timeout: str = ""
    namespace: str = ""
    name: str = ""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScriptHeader:
    """What a header says; of a script that has none, nothing.

    `tells_uv` says that it has settings for uv: indexes or sources of packages.
    """

    dependencies: tuple[str, ...] = ()
    requires_python: str = ""
    table: JobTable = field(default_factory=JobTable)
    tells_uv: bool = False

    def allows(self, python: str) -> bool:
        """Whether the script may run with this version of Python."""
        return SpecifierSet(self.requires_python).contains(python, prereleases=True)


def read_script_header(text: str) -> ScriptHeader:
    """Return what the header of a script says. Raises InvalidArguments naming what is wrong in it."""
    values = _values(text)
    tools = _table(values, "tool", "the header")
    return ScriptHeader(
        dependencies=checked_requirements(_texts(values, "dependencies", "the header"), "the header of the script"),
        requires_python=_checked_python(_text(values, "requires-python", "the header")),
        table=_job_table(_table(tools, _TABLE, "[tool]")),
        tells_uv="uv" in tools,
    )


def checked_requirements(given: Sequence[str], where: str) -> tuple[str, ...]:
    """Return requirements as they are. Raises InvalidArguments for one that is none by the standard."""
    for each in given:
        try:
            Requirement(each)
        except InvalidRequirement as error:
            raise InvalidArguments(
                f'{where} names "{shorten(each)}", which is no requirement: {str(error).splitlines()[0]}.',
                allowed='A requirement is a package with or without a version: trl, "trl==1.16.0", "trl[vllm]>=1.16".',
                next_step=_NOTHING_STARTED,
            ) from None
    return tuple(given)


def complete_header(text: str, dependencies: Sequence[str]) -> str:
    """Return a script with a header that says which Python it needs and lists these packages beside its own.

    What the header says already stays as it is. Raises InvalidArguments where its list cannot be added to.
    """
    block = _BLOCK.search(text)
    if block is None:
        start = cast("re.Match[str]", _FIRST_LINES.match(text)).end()
        return text[:start] + _new_header(dependencies) + text[start:]
    values = _values(text)
    content = block["content"]
    wanted = [*dependencies, *_texts(values, "dependencies", "the header")]
    if "dependencies" not in values:
        content = f"# dependencies = [{', '.join(map(_quoted, dependencies))}]\n{content}"
    elif dependencies:
        listed = "".join(f"{_quoted(each)}, " for each in dependencies)
        content = _LIST.sub(lambda found: found.group() + listed, content, count=1)
    if "requires-python" not in values:
        content = f'# requires-python = "{OLDEST_PYTHON}"\n{content}'
    completed = _with_content(text, block, content)
    if _parsed(content).get("dependencies") != wanted:
        raise InvalidArguments(
            "dependencies cannot be added to the header of this script.",
            next_step=f"Write them into its header and leave the argument out. {_NOTHING_STARTED}",
        )
    return completed


def without_job_table(text: str) -> str:
    """Return a script without `[tool.hf-jobs]`. Raises InvalidArguments where it is written as another kind of value."""
    block = _BLOCK.search(text)
    if block is None:
        return text
    kept: list[str] = []
    inside = False
    for line in re.findall(r".*\n", block["content"]):
        if _ANY_TABLE_LINE.match(line):
            inside = _TABLE_LINE.match(line) is not None
        if not inside:
            kept.append(line)
    content = "".join(kept)
    before, after = _values(text), _parsed(content or "#\n")
    tools = {name: value for name, value in before.get("tool", {}).items() if name != _TABLE}
    if after != {name: value for name, value in before.items() if name != "tool"} | ({"tool": tools} if tools else {}):
        raise InvalidArguments(
            "The header of the script says what is meant for `hf jobs` in a way that cannot be changed here.",
            allowed="It stands in a table of its own that begins with the line `# [tool.hf-jobs]`.",
            next_step=_NOTHING_STARTED,
        )
    return _with_content(text, block, content)


def with_table_lines(text: str, lines: str) -> str:
    """Return a script whose header ends with these lines, each of which begins with `# `."""
    block = _BLOCK.search(text)
    if block is None:
        raise ValueError("the script has no header")
    return _with_content(text, block, block["content"] + lines)


def _new_header(dependencies: Sequence[str]) -> str:
    listed = ", ".join(map(_quoted, dependencies))
    return f'# /// script\n# requires-python = "{OLDEST_PYTHON}"\n# dependencies = [{listed}]\n# ///\n'


def _with_content(text: str, block: "re.Match[str]", content: str) -> str:
    return text[: block.start("content")] + content + text[block.end("content") :]


def _quoted(requirement: str) -> str:
    """Return a requirement as a text of TOML."""
    return json.dumps(requirement, ensure_ascii=False)


def _values(text: str) -> dict[str, Any]:
    blocks = list(_BLOCK.finditer(text))
    if len(blocks) > 1:
        raise InvalidArguments("The script has two headers.", next_step=f"Keep one of them. {_NOTHING_STARTED}")
    if not blocks:
        if _BEGIN.search(text):
            raise InvalidArguments(
                "The header of the script is not closed.",
                allowed="It begins with `# /// script` and ends with `# ///`; each line between them begins with `# `.",
                next_step=_NOTHING_STARTED,
            )
        return {}
    return _parsed(blocks[0]["content"])


def _parsed(content: str) -> dict[str, Any]:
    try:
        return tomllib.loads("\n".join(line[2:] for line in content.split("\n")))
    except tomllib.TOMLDecodeError as error:
        raise InvalidArguments(
            f"The header of the script is no valid TOML: {error}.",
            allowed='For example: # dependencies = ["trl", "peft"]',
            next_step=f"Lines are counted from the one behind `# /// script`. {_NOTHING_STARTED}",
        ) from None


def _job_table(values: Mapping[str, Any]) -> JobTable:
    where = f"[tool.{_TABLE}]"
    known = ("image", "flavor", "timeout", "namespace", "name", "env", "secrets")
    texts = {name: _text(values, name, where) for name in known[:5]}
    env = _table(values, "env", where)
    return JobTable(
        **texts,
        env={name: _text(env, name, f"env in {where}") for name in env},
        secrets=tuple(_texts(values, "secrets", where)),
        unused=tuple(name for name in values if name not in known),
    )


def _checked_python(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        raise InvalidArguments(
            f'The header of the script says requires-python = "{shorten(text)}".',
            allowed="It is a range of versions, such as >=3.11.",
            next_step=_NOTHING_STARTED,
        ) from None
    return text


def _text(values: Mapping[str, Any], name: str, where: str) -> str:
    value = values.get(name, "")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _no_such("a text", name, where, value)
    return str(value)


def _texts(values: Mapping[str, Any], name: str, where: str) -> list[str]:
    value: object = values.get(name, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in cast(list[object], value)):
        raise _no_such("a list of texts", name, where, values[name])
    return cast(list[str], value)


def _table(values: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = values.get(name, {})
    if not isinstance(value, dict):
        raise _no_such("a table", name, where, value)
    return cast(dict[str, Any], value)


def _no_such(wanted: str, name: str, where: str, value: object) -> InvalidArguments:
    return InvalidArguments(
        f"{name} in {where} of the script is {shorten(value)}.",
        allowed=f"It is {wanted}.",
        next_step=_NOTHING_STARTED,
    )
