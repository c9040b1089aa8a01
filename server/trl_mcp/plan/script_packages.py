"""Whether the packages that a script asks for can be had: resolved by uv, nothing installed, nothing built."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import anyio
import anyio.to_thread
from packaging.requirements import Requirement

from trl_mcp.backends import job_environment
from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.script_header import ScriptHeader
from trl_mcp.values import Finding, Severity
from trl_mcp.wheel_folders import find_wheels, usable, write_index

RESOLVE_SECONDS = 10.0
# Of the image that jobs run in.
_JOB_PYTHONS = ("3.12", "3.13", "3.14", "3.11")
_JOB_PLATFORM = "x86_64-manylinux_2_36"
_IMPOSSIBLE = "No solution found"
# What could be had all the same: built from source, or from a network that is there for the job.
_PERHAPS = ("building from source is disabled", "network was disabled")
_CONCLUSION = ", we can conclude that your requirements are unsatisfiable."
_LONGEST_REASON = 500


async def check_packages(
    header: ScriptHeader, environ: Mapping[str, str], *, is_local: bool, seconds: float = RESOLVE_SECONDS
) -> list[Finding]:
    """Return an info finding where it could not be known within `seconds` whether the packages can be had.

    Raises InvalidArguments, with uv's reason, where they cannot.
    """
    if not header.dependencies:
        return []
    if header.tells_uv or any(Requirement(each).url for each in header.dependencies):
        return [_unknown("it names a source of its own for them")]
    said = "uv did not answer in time"
    with anyio.move_on_after(seconds), tempfile.TemporaryDirectory(prefix="trl-mcp-") as folder:
        index = (
            await anyio.to_thread.run_sync(_wheels, header, environ, folder, abandon_on_cancel=True) if is_local else {}
        )
        allowed = job_environment.for_supervisor(environ, {})
        allowed.pop("PYTHONPATH", None)
        said = await _resolve(header, allowed | index, folder, is_local=is_local)
    if not said:
        return []
    if _IMPOSSIBLE not in said or any(sign in said for sign in _PERHAPS):
        return [_unknown(_reason(said) if _IMPOSSIBLE in said else "the package index was not reached in time")]
    raise InvalidArguments(
        f"The packages of the script cannot be had: {_reason(said)}",
        allowed="They come from its header and from dependencies.",
        next_step="Mend the name or version there. Nothing was started.",
    )


async def _resolve(header: ScriptHeader, environ: Mapping[str, str], folder: str, *, is_local: bool) -> str:
    """Return what uv says against these packages, nothing where they can be had."""
    import uv

    own = ".".join(map(str, sys.version_info[:2]))
    pythons = (own, *_JOB_PYTHONS) if is_local else _JOB_PYTHONS
    python = next((each for each in pythons if header.allows(f"{each}.99")), pythons[0])
    platform = [] if is_local else ["--python-platform", _JOB_PLATFORM]
    # Without an interpreter of the same version uv would look for one to download.
    target = ["--python", sys.executable, "--python-version", python, *platform]
    command = [uv.find_uv_bin(), "pip", "compile", "-", "--quiet", "--no-build", *target]
    done = await anyio.run_process(
        command,
        input="\n".join(" ".join(each.split()) for each in header.dependencies).encode(),
        stderr=subprocess.PIPE,
        check=False,
        cwd=folder,
        env=environ,
    )
    return "" if done.returncode == 0 else done.stderr.decode(errors="replace") or "?"


def _wheels(header: ScriptHeader, environ: Mapping[str, str], folder: str) -> dict[str, str]:
    """Return what makes uv look into the operator's folders of wheels, as it does when the environment is made."""
    wheels = usable(find_wheels(environ), [Requirement(each) for each in header.dependencies])
    if not wheels:
        return {}
    url = write_index(wheels, Path(folder) / "wheels")
    return {"UV_INDEX": f"{url} {environ.get('UV_INDEX', '')}".strip()}


def _unknown(why: str) -> Finding:
    return Finding(
        "script.unresolved", Severity.INFO, f"Whether the script's packages can be had is not known: {why.rstrip('.')}."
    )


def _reason(said: str) -> str:
    """Return why uv finds no solution, on one line."""
    message = re.split(r"(?m)^\s*hint:", said)[0]
    begin = message.find("Because")
    plain = " ".join(re.sub(r"[│╰─▶]", " ", message[max(0, begin) :]).split())
    return f"{plain.removesuffix(_CONCLUSION)[:_LONGEST_REASON].rstrip('.')}."
