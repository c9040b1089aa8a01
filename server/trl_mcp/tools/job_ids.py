"""Job ids in any form a user may have: bare, namespace/id, a script resource, a dashboard URL."""

import re
from contextlib import suppress
from urllib.parse import urlsplit

from trl_mcp.backends.base import Job
from trl_mcp.backends.local import is_local_id
from trl_mcp.context import CallContext
from trl_mcp.errors import UnknownJob
from trl_mcp.schema import shorten
from trl_mcp.values import ToolName, call

_WRAPPING = re.compile(r"^(?:job://)?(?:local/)?|/script$|^.*/jobs/[^/]+/")


async def find_job(text: str, context: CallContext) -> Job:
    """Return the job an id means. Raises UnknownJob, naming how to list those there are."""
    bare = bare_id(text)
    if is_local_id(bare):
        return await context.server.local.inspect(bare)
    raise UnknownJob(
        f'No job has the id "{shorten(text)}".',
        allowed="An id looks like sft-3f2a9c1b7d4e-1.",
        next_step=f"{call(ToolName.JOB_STATUS)} lists the newest jobs.",
    )


def bare_id(text: str) -> str:
    """Return an id without namespace, scheme or the address around it."""
    text = text.strip().strip("`'\"")
    if text.startswith(("http://", "https://")):
        with suppress(ValueError):
            text = urlsplit(text).path.rstrip("/")
    return _WRAPPING.sub("", text)
