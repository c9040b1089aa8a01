"""What a caller's script is: where its text comes from, and whether text and values can be what they say."""

import ast
import re
import sys
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from trl_mcp.errors import InvalidArguments
from trl_mcp.recipes.script_header import read_script_header
from trl_mcp.schema import did_you_mean, shorten
from trl_mcp.values import Finding, Severity
from trl_mcp.web_trail import https_parts

# Templates that a person may take as they are; they read no RUN that only this server can write.
STANDALONE = ("seq2seq", "tiny_model")
TOKEN = "HF_TOKEN"  # noqa: S105 # a name, no secret
_NOTHING_STARTED = "Nothing was started."
_TEMPLATE = re.compile(r"templates/(\w+)\.py")
_PATH = re.compile(r"[^\s()=\"']+\.(?:py|ipynb|sh|ya?ml)")
_BLOB = re.compile(r"/([^/]+)/([^/]+)/blob/(.+)")
_HUB_BLOB = re.compile(r"(.+)/blob/(.+)")
_GIST = re.compile(r"/[\w-]+/[0-9a-f]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS = re.compile(r"TRL_MCP_\w+|UVSCRIPT_GZ_B64|JOB_ID|ACCELERATOR|CPU_CORES|MEMORY")
_SECRET_NAMES = re.compile(
    r"HF_TOKEN|HUGGING_?FACE(?:_HUB)?_TOKEN|\w*(?:API_?KEY|PASSWORD|SECRET|SECRET_KEY|ACCESS_KEY)"
)
_NAME = re.compile(r"\w(?:[\w .,:+@()-]{0,61}[\w.)])?")
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::\d+)?"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::\w[\w.-]{{0,127}})?(?:@[a-z0-9.+_-]+:[0-9a-f]{{32,}})?", re.ASCII
)
_SPACE = re.compile(r"(?:https://)?(?:huggingface\.co|hf\.co)/spaces/")


@dataclass(frozen=True, slots=True)
class ScriptAsked:
    """What was asked of a script, apart from where it runs: its text, and the URL or template that this comes from.

    `env` are variables for the job, `secrets` names of those whose values the server knows. Without an `image` it runs
    in uv's own; `name` is for people.
    """

    script: str
    source: str = ""
    script_args: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: tuple[str, ...] = ()
    image: str = ""
    name: str = ""

    @property
    def is_from_web(self) -> bool:
        """Whether somebody else has written the script."""
        return self.source.startswith("https://")


def is_address(script: str) -> bool:
    """Whether what was given as a script is the address of one."""
    return "\n" not in script.strip() and re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", script.strip()) is not None


def template_named(script: str, there: Iterable[str]) -> str | None:
    """Return the name of the template that was given as a script, None for anything else; `there` are those to be had.

    Raises InvalidArguments for another file of that folder.
    """
    found = _TEMPLATE.fullmatch(script.strip())
    if found is None:
        return None
    known = sorted(there)
    if found[1] not in known:
        raise InvalidArguments(
            f'"{shorten(script.strip())}" is no script that can be run as it is.{did_you_mean(found[1], known)}',
            allowed=f"There are: {', '.join(f'templates/{name}.py' for name in known)}.",
            next_step=f"For another training use submit_training. {_NOTHING_STARTED}",
        )
    return found[1]


def raw_address(address: str) -> str:
    """Return the address of the text that a page shows: of GitHub, of a gist, of the Hub; any other as it is.

    Raises InvalidArguments for one that is not https, or has a user or password in it.
    """
    parts = https_parts(address)
    if parts is None:
        raise InvalidArguments(
            "The address of the script cannot be read.",
            allowed="It is a public https URL without a user or password in it.",
            next_step=f"Or give the text of the script itself. {_NOTHING_STARTED}",
        )
    if parts.hostname == "github.com" and (found := _BLOB.fullmatch(parts.path)):
        return f"https://raw.githubusercontent.com/{found[1]}/{found[2]}/{found[3]}"
    if parts.hostname == "gist.github.com" and _GIST.fullmatch(parts.path):
        return f"https://gist.github.com{parts.path}/raw"
    if parts.hostname in ("huggingface.co", "hf.co") and (found := _HUB_BLOB.fullmatch(parts.path)):
        return f"https://huggingface.co{found[1]}/resolve/{found[2]}"
    return parts._replace(fragment="").geturl()


def checked_script(script: str) -> tuple[str, tuple[Finding, ...]]:
    """Return a script's text with Unix line ends, and what is to be said of its syntax.

    Raises InvalidArguments, naming the line, for what is no Python.
    """
    text = script.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    _check_is_source(text)
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text)
    except SyntaxError as error:
        return text, (_syntax(text, error),)
    except (ValueError, RecursionError, MemoryError) as error:
        raise InvalidArguments(
            f"The script is no Python that can be read: {error or type(error).__name__}.", next_step=_NOTHING_STARTED
        ) from None
    if not _does_something(tree):
        raise InvalidArguments("The script does nothing.", allowed=_what_it_is(), next_step=_NOTHING_STARTED)
    return text if text.endswith("\n") else f"{text}\n", ()


def _check_is_source(text: str) -> None:
    bare = text.strip()
    if not bare:
        raise InvalidArguments("script is empty.", allowed=_what_it_is(), next_step=_NOTHING_STARTED)
    if _PATH.fullmatch(bare) or bare.startswith(("/", "~", "file:")):
        raise InvalidArguments(
            f'script is the name of a file, "{shorten(bare)}"; files are not read.',
            allowed=_what_it_is(),
            next_step=f"Give the text of the file. {_NOTHING_STARTED}",
        )
    try:
        bare.encode()
    except UnicodeEncodeError as error:
        raise InvalidArguments(
            f"The script is no valid text: character {error.start} is half of a pair.", next_step=_NOTHING_STARTED
        ) from None


def _does_something(tree: ast.Module) -> bool:
    """Whether a module has a statement, or calls anything: a name or a path alone is Python, too."""
    nodes = ast.walk(tree)
    return any(isinstance(node, ast.Call | ast.stmt) and not isinstance(node, ast.Expr) for node in nodes)


def _what_it_is() -> str:
    return "It is the text of a Python script, an https URL of one, or templates/seq2seq.py."


def _syntax(text: str, error: SyntaxError) -> Finding:
    """Return a warning where the script is meant for a Python that the server is not. Raises InvalidArguments."""
    python = ".".join(map(str, sys.version_info[:3]))
    line = shorten((error.text or "").strip())
    where = f"line {error.lineno}: " if error.lineno else ""
    said = f"{where}{error.msg}{f' ({line})' if line else ''}"
    if not read_script_header(text).allows(python):
        return Finding(
            "script.syntax",
            Severity.WARNING,
            f"Python {python} cannot read {said}.",
            "Check it with the Python it needs.",
        )
    raise InvalidArguments(
        f"The script is no valid Python: {said}.",
        allowed=f"It was read as Python {python}; for a newer one its header says so: # requires-python = ...",
        next_step=f"Mend that. {_NOTHING_STARTED}",
    )


def check_values(asked: ScriptAsked) -> None:
    """Raise InvalidArguments for an image, a name, a variable or an argument that cannot be one."""
    if asked.image:
        _check_image(asked.image)
    if asked.name and not _NAME.fullmatch(asked.name):
        raise InvalidArguments(
            f'name cannot be "{shorten(asked.name)}".',
            allowed="It has up to 63 letters, digits, spaces and any of - _ . , : + @ ( ), and begins with a letter or digit.",
            next_step=_NOTHING_STARTED,
        )
    for name in asked.env:
        _check_variable(name, asked.secrets)
    for name in asked.secrets:
        if not _VARIABLE.fullmatch(name):
            raise InvalidArguments(
                f'secrets names "{shorten(name.partition("=")[0])}".',
                allowed="They are names of environment variables, without values: the server knows those.",
                next_step=_NOTHING_STARTED,
            )
    if any("\0" in text for text in (*asked.script_args, *asked.env.values())):
        raise InvalidArguments("script_args and env cannot hold a zero byte.", next_step=_NOTHING_STARTED)


def _check_variable(name: str, secrets: Iterable[str]) -> None:
    if not _VARIABLE.fullmatch(name):
        raise InvalidArguments(
            f'env names "{shorten(name)}", which is no name of a variable.',
            allowed="A name has letters, digits and _, and does not begin with a digit.",
            next_step=_NOTHING_STARTED,
        )
    if _OURS.fullmatch(name):
        raise InvalidArguments(f"env cannot set {name}: the job is given that one.", next_step=_NOTHING_STARTED)
    if name in secrets or _SECRET_NAMES.fullmatch(name):
        raise InvalidArguments(
            f"{name} is a secret, and what stands in env can be read by others.",
            allowed=f'Name it among the secrets, without its value: secrets=["{name}"].',
            next_step=f"Its value comes from the server, where the operator allows that. {_NOTHING_STARTED}",
        )


def _check_image(image: str) -> None:
    if not _IMAGE.fullmatch(image) or len(image) > 255 or _SPACE.match(image):
        raise InvalidArguments(
            f'image cannot be "{shorten(image)}".',
            allowed="It is a Docker image such as huggingface/trl, python:3.12 or ghcr.io/owner/name:tag: lower case, no "
            "scheme, no Space.",
            next_step=_NOTHING_STARTED,
        )
