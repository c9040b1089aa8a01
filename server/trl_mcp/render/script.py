"""Template + recipe -> script: three replacements, and the reading back of what they wrote."""

import ast
import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import cast

from trl_mcp.environments import write_header
from trl_mcp.recipes.script_header import with_table_lines
from trl_mcp.render.literal import literal
from trl_mcp.render.templates import job_module_source, template_source

_HEADER = re.compile(r"^# /// script\n(?:#(?: .*)?\n)*?# ///\n", re.MULTILINE)
_DEPENDENCIES = re.compile(r"^# dependencies = \[\n(?:# .*,\n)*(?=# \]\n)", re.MULTILINE)
_IMPORT = re.compile(r"^(?:import|from (?!_job|__future__)[\w.]+ import) [\w., ]+\n", re.MULTILINE)
# Some readers end a line of the header at these, too.
_OTHER_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
_BLANK_LINES = re.compile(r"\n{4,}")
_JOB_IMPORT = re.compile(r"^from _job\.(\w+) import (?:\([\w,\s]+\)|[\w, ]+)\n", re.MULTILINE)


def render(template: str, run: Mapping[str, object], header: str | None = None) -> str:
    """Return the self-contained script of a template with `run` written into it.

    `header` replaces the template's own PEP 723 header. The same arguments give the same bytes.
    """
    source = template_source(template)
    if header is not None:
        source = _HEADER.sub(lambda _: header, source, count=1)
    return inline_job_modules(replace_run(source, run))


def header_of(script: str) -> str:
    """Return the PEP 723 header of a script. Raises ValueError where there is none."""
    found = _HEADER.search(script)
    if found is None:
        raise ValueError("the script has no PEP 723 header")
    return found.group()


def with_dependencies(header: str, dependencies: Sequence[str]) -> str:
    """Return a PEP 723 header with these packages behind its own. Raises ValueError where it lists none."""
    if not dependencies:
        return header
    listed = "".join(f'#     "{each}",\n' for each in dependencies)
    extended, count = _DEPENDENCIES.subn(lambda found: found.group() + listed, header, count=1)
    if not count:
        raise ValueError("the header lists no dependencies")
    return extended


def job_table(flavor: str, timeout_s: int | None, namespace: str, image: str = "") -> str:
    """Return the table that makes `hf jobs uv run` start the script as this server would."""
    lines = ["[tool.hf-jobs]", f'flavor = "{flavor}"', f'namespace = "{namespace}"', 'secrets = ["HF_TOKEN"]']
    lines += [f'timeout = "{timeout_s}"'] if timeout_s else []
    lines += [f'image = "{image}"'] if image else []
    return "".join(f"# {line}\n" for line in lines)


def with_job_table(script: str, table: str) -> str:
    """Return a script (or a header alone) with this `[tool.hf-jobs]` table and no other."""
    header = header_of(script)
    bare = re.sub(r"^# \[tool\.hf-jobs\]\n(?:# (?!\[|//).*\n)*", "", header, flags=re.MULTILINE)
    return script.replace(header, bare.removesuffix("# ///\n") + table + "# ///\n", 1)


def with_script_table(script: str, values: Mapping[str, object]) -> str:
    """Return a caller's script, which has no such table yet, with these values as `[tool.hf-jobs]`.

    Raises ValueError where it has no header.
    """
    if not values:
        return script
    lines = write_header(dict(values)).split("\n")[1:-2]
    table = "".join(f"{line}\n" for line in ["# [tool.hf-jobs]", *lines])
    return with_table_lines(script, _OTHER_LINE_ENDS.sub(lambda found: f"\\u{ord(found.group()):04x}", table))


def replace_run(script: str, run: Mapping[str, object]) -> str:
    """Return the script with another RUN literal, all else as it was. Raises ValueError where it has none."""
    node = _run_assignment(script)
    lines = script.split("\n")
    first, last = node.lineno - 1, cast(int, node.end_lineno)
    return "\n".join([*lines[:first], f"RUN = {literal(run)}", *lines[last:]])


def read_run(script: str) -> dict[str, object]:
    """Return the RUN literal of a script. Raises ValueError where it has none, or one that is no dictionary."""
    run: object = ast.literal_eval(_run_assignment(script).value)
    if not isinstance(run, dict):
        raise ValueError("RUN is no dictionary")  # noqa: TRY004 # as for a script that has none
    return cast(dict[str, object], run)


def inline_job_modules(source: str) -> str:
    """Return the source with each `from _job.x import ...` line replaced by that module's body, once each.

    An import that stands above already is left out of a body.
    """
    included: set[str] = set()
    imported = set(_IMPORT.findall(_without_run(source)))

    def body(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in included:
            return ""
        included.add(name)
        text = _IMPORT.sub(first_time, _without_docstring(job_module_source(name)))
        return _JOB_IMPORT.sub(body, _BLANK_LINES.sub("\n\n\n", text))

    def first_time(match: re.Match[str]) -> str:
        line = match.group()
        if line in imported:
            return ""
        imported.add(line)
        return line

    return _JOB_IMPORT.sub(body, source)


def _without_run(source: str) -> str:
    """Return a template without its RUN literal, whose texts may look like code."""
    try:
        return replace_run(source, {})
    except ValueError:
        return source


# A script is read several times on its way, and parsing one of four thousand lines takes a tenth of a second.
@lru_cache(16)
def _run_assignment(script: str) -> ast.Assign:
    for node in ast.parse(script).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["RUN"]:
            return node
    raise ValueError("the script has no RUN literal")


@cache
def _without_docstring(source: str) -> str:
    """Return a module's text after its docstring, whose first line becomes the comment that heads the section."""
    tree = ast.parse(source)
    docstring = ast.get_docstring(tree)
    if docstring is None:
        return source
    rest = "\n".join(source.split("\n")[cast(int, tree.body[0].end_lineno) :])
    return f"# {docstring.splitlines()[0]}\n{rest.rstrip()}\n"
