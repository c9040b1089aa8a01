"""What the data-set viewer has counted already: a courtesy that is never waited for long and never fails a call."""

from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx2

from trl_mcp.errors import TrlMcpError
from trl_mcp.hub.client import Ask, HubClient, Query
from trl_mcp.hub.fields import amount, dig, items, text, whole
from trl_mcp.hub.values import HubFiles, TextLengths, ViewerFacts

PUBLIC_HUB = "https://huggingface.co"
PUBLIC_VIEWER = "https://datasets-server.huggingface.co"


class Viewer:
    """The viewer of a Hub: the public Hub's own, or the one at the address that the operator set; else there is none."""

    def __init__(self, hub: str, address: str | None = None) -> None:
        address = address or (PUBLIC_VIEWER if hub == PUBLIC_HUB else None)
        self.address = address
        self._client = HubClient(address) if address else None
        is_public_pair = (hub, address) == (PUBLIC_HUB, PUBLIC_VIEWER)
        self._is_trusted = is_public_pair or urlsplit(hub)[:2] == urlsplit(address or "")[:2]

    async def aclose(self) -> None:
        """Close the connections; a later question opens new ones."""
        if self._client is not None:
            await self._client.aclose()

    async def facts(self, token: str | None, files: HubFiles, within: float) -> ViewerFacts | None:
        """Return what is counted of a split at its commit; None where that is not answered within so many seconds.

        The token goes to a viewer of the Hub's own only.
        """
        if self._client is None:
            return None
        where = (("dataset", files.repo_id), ("config", files.config), ("split", files.split))
        answers: dict[str, Any] = {}

        async def ask(path: str, client: HubClient) -> None:
            answers[path] = await _answer(client, token if self._is_trusted else None, path, where, files.commit)

        with anyio.move_on_after(within):
            async with anyio.create_task_group() as group:
                for path in ("size", "statistics"):
                    group.start_soon(ask, path, self._client)
        return _facts(answers.get("size"), answers.get("statistics"), files)


async def _answer(client: HubClient, token: str | None, path: str, where: Query, commit: str) -> Any:
    """Return the answer to one question, None where there is none or it is of another commit."""
    ask = Ask("ask the data-set viewer", f"/{path}", params=where, anonymous=True)
    try:
        response = await client.send(token, ask, timeout_s=30)
        is_current = response.is_success and response.headers.get("X-Revision") == commit
        return client.read_json(response, ask) if is_current else None
    except (TrlMcpError, httpx2.RequestError):
        return None


def _facts(size: Any, statistics: Any, files: HubFiles) -> ViewerFacts | None:
    counted = next((entry for entry in items(size, "size", "splits") if text(entry, "split") == files.split), None)
    rows = whole(counted, "estimated_num_rows") or whole(counted, "num_rows")
    if rows is None:
        return None
    return ViewerFacts(
        rows=rows,
        columns=whole(counted, "num_columns") or 0,
        memory_bytes=whole(counted, "num_bytes_memory") or 0,
        parquet_bytes=whole(counted, "num_bytes_parquet_files") or 0,
        is_partial=bool(dig(size, "partial")),
        texts={
            text(entry, "column_name"): _lengths(dig(entry, "column_statistics"))
            for entry in items(statistics, "statistics")
            if text(entry, "column_type") == "string_text"
        },
    )


def _lengths(raw: object) -> TextLengths:
    return TextLengths(whole(raw, "min") or 0, amount(raw, "median"), amount(raw, "mean"), whole(raw, "max") or 0)
