"""How a script travels to Hugging Face Jobs: compressed in one environment variable, so that it can be read back."""

import base64
import binascii
import gzip
import hashlib
import zlib
from collections.abc import Mapping
from contextlib import suppress

from trl_mcp.environments import read_header, write_header
from trl_mcp.errors import InvalidArguments, NotPossible
from trl_mcp.render.script import read_run

VARIABLE = "UVSCRIPT_GZ_B64"
MOST_CHARACTERS = 100_000  # Linux takes 131,071 bytes in one variable, its name included
_MOST_BYTES = 8_000_000
# A folder per header: uv keeps one environment per path of a script.
_UNPACK = f'd="$1" f="$1/$2.py"; shift 2; mkdir -p "$d" && printf %s "${VARIABLE}" | base64 -d | gzip -d > "$f"'
_RUN = 'exec uv run "$f" "$@"'
# An image of the caller's may lack uv; pip, which most have, brings it, beside what the system manages.
_FIND_UV = (
    'command -v uv >/dev/null || { python3 -m pip install --quiet --target "$d/uv" uv && PATH="$PATH:$d/uv/bin"; } '
    '|| { echo "The image has neither uv nor a python3 with pip to install it." >&2; exit 127; }'
)
_RUN_IN_IMAGE = 'exec python3 "$f" "$@"'


def folder(script: str) -> str:
    """Return the folder that a script is unpacked to in its job: one for all that ask for the same packages."""
    header = write_header(read_header(script))
    return f"/tmp/{hashlib.sha256(header.encode()).hexdigest()[:12]}"  # noqa: S108 # of a machine that runs this only


def command(script: str, method: str, arguments: tuple[str, ...] = (), image: str = "") -> list[str]:
    """Return the command that unpacks the script in its job and runs it with uv.

    In an image of the caller's, uv is installed where it is missing, and a script that asks for no packages is run by
    the image's own python3, so that it has those of the image.
    """
    run = _RUN
    if image:
        run = f"{{ {_FIND_UV}; }} && {_RUN}" if read_header(script)["dependencies"] else _RUN_IN_IMAGE
    return ["/bin/sh", "-c", f"{_UNPACK} && {run}", "sh", folder(script), method, *arguments]


def encode(script: str) -> str:
    """Return a script as it travels. Raises InvalidArguments where it is too large or no valid text."""
    try:
        data = script.encode()
    except UnicodeEncodeError as error:
        raise InvalidArguments(f"The script is no valid text: character {error.start} is half of a pair.") from None
    encoded = base64.b64encode(gzip.compress(data, mtime=0)).decode("ascii")
    if len(encoded) > MOST_CHARACTERS:
        raise InvalidArguments(
            f"The script is too large for Hugging Face Jobs: {len(encoded):,} characters compressed.",
            allowed=f"At most {MOST_CHARACTERS:,} can be sent.",
            next_step=f"{_largest(script)} Nothing was started.",
        )
    return encoded


def decode(environment: Mapping[str, str]) -> str:
    """Return the script that a job's environment carries. Raises NotPossible where it carries none."""
    with suppress(KeyError, ValueError, binascii.Error, zlib.error):
        unpacker = zlib.decompressobj(wbits=31)
        data = unpacker.decompress(base64.b64decode(environment[VARIABLE], validate=True), _MOST_BYTES)
        if unpacker.eof:
            return data.decode()
    raise NotPossible("This job carries no script of this server: it was started by other means.")


def _largest(script: str) -> str:
    """Name the field of RUN that takes the most room."""
    try:
        run = read_run(script)
    except (ValueError, SyntaxError):
        run = {}
    if not run:
        return "Make it smaller, or let it download what it needs."
    name = max(run, key=lambda field: len(repr(run[field])))
    return f"The largest part is {name}, with {len(repr(run[name])):,} characters: make it smaller."
