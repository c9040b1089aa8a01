"""Job ids in any form a user may have: bare, namespace/id, a script resource, a dashboard URL."""

import re
from contextlib import suppress
from urllib.parse import urlsplit

from trl_mcp.backends.base import Job
from trl_mcp.backends.local import is_local_id
from trl_mcp.context import CallContext
from trl_mcp.errors import PermissionMissing, UnknownJob
from trl_mcp.plan.place import LOCAL
from trl_mcp.schema import shorten
from trl_mcp.values import ToolName, call

_WRAPPING = re.compile(r"^job://|/script$|^.*/jobs/")
_HUB_ID = re.compile(r"[0-9a-f]{24}")
_NAMESPACE = re.compile(r"[A-Za-z0-9][\w.-]{0,95}")


async def find_job(text: str, context: CallContext) -> Job:
    """Return the job an id means. Raises UnknownJob, naming how to list those there are."""
    namespace, bare = split_id(text)
    if is_local_id(bare) and namespace in (None, LOCAL):
        return await context.server.local.inspect(bare)
    if _HUB_ID.fullmatch(bare) and context.token and not context.server.settings.is_offline:
        if namespace:
            return await context.hf(namespace).inspect(bare)
        for candidate in await _namespaces(context):
            # An organisation whose jobs the token may not see says nothing of where this one is.
            with suppress(UnknownJob, PermissionMissing):
                return await context.hf(candidate).inspect(bare)
    raise UnknownJob(
        f'No job has the id "{shorten(text)}".',
        allowed="An id looks like sft-3f2a9c1b7d4e-1 (this machine) or 24 hexadecimal digits (Hugging Face Jobs).",
        next_step=f"{call(ToolName.JOB_STATUS)} lists the newest jobs.",
    )


async def _namespaces(context: CallContext) -> list[str]:
    """Return where a job without a namespace may be: the caller's own first, then their organisations."""
    identity = await context.server.hub.identity(context.token or "")
    return [identity.name, *identity.organisations]


def split_id(text: str) -> tuple[str | None, str]:
    """Return the namespace, where one is named, and the bare id, without scheme or the address around them."""
    text = text.strip().strip("`'\"")
    if text.startswith(("http://", "https://")):
        with suppress(ValueError):
            text = urlsplit(text).path.rstrip("/")
    namespace, _, bare = _WRAPPING.sub("", text).rpartition("/")
    if namespace and not _NAMESPACE.fullmatch(namespace):
        return None, text
    return namespace or None, bare
