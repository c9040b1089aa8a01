"""Server-sent events, read as they arrive."""

from collections.abc import AsyncGenerator, AsyncIterator

_LONGEST = 4_000_000


class EventReader:
    """Takes bytes in any pieces and gives out the data of each whole event; comments and other fields are skipped."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[str]:
        """Return the data of the events that end in this chunk."""
        # Lines end with LF or CRLF only: what else Python takes for a line end may stand within the data.
        *lines, rest = (self._rest + chunk).split(b"\n")
        self._rest = rest if len(rest) <= _LONGEST else b""
        return [data for line in lines if (data := self._line(line.removesuffix(b"\r"))) is not None]

    def _line(self, line: bytes) -> str | None:
        if not line:
            data, self._data = self._data, []
            return "\n".join(data) if data else None
        name, _, value = line.decode("utf-8", errors="replace").partition(":")
        if name == "data":
            self._data.append(value.removeprefix(" "))
        return None


async def read_events(chunks: AsyncIterator[bytes]) -> AsyncGenerator[list[str]]:
    """Return the data of whole events, as many at once as arrived together."""
    reader = EventReader()
    async for chunk in chunks:
        yield reader.feed(chunk)
