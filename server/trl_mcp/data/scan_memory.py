"""The looks at data taken last, so that an estimate or a plan on data just looked at need not read it again."""

from collections import OrderedDict
from dataclasses import replace

from trl_mcp.data.look import Scan
from trl_mcp.data.sample import MOST_CHARACTERS
from trl_mcp.data.sources import RowSource
from trl_mcp.data.wishes import RowWishes

_SAID_WHERE_NO_METHOD_IS_NAMED = "data.more_methods"


class ScanMemory:
    """Scans by what they depend on: the content of a source, its names, and what is wished of its rows.

    The sampled rows of all scans together have `most_characters` at most, or those of one scan.
    """

    def __init__(self, most: int = 64, most_characters: int = MOST_CHARACTERS) -> None:
        self._most = most
        self._most_characters = most_characters
        self._kept = OrderedDict[str, Scan]()

    def find(self, source: RowSource, wishes: RowWishes) -> Scan | None:
        """Return the scan of this source with these wishes, if there was one.

        Rows that were shown for a method where none was named are those of who names it.
        """
        known = self._kept.get(_key(source, wishes))
        if known is not None or wishes.method is None:
            return known
        shown = self._kept.get(_key(source, replace(wishes, method=None)))
        return _as_named(shown) if shown is not None and shown.report.use.get("method") == wishes.method else None

    def keep(self, source: RowSource, wishes: RowWishes, scan: Scan) -> None:
        """Keep a scan, and let the oldest go."""
        key = _key(source, wishes)
        self._kept[key] = scan
        self._kept.move_to_end(key)
        while len(self._kept) > self._most or (len(self._kept) > 1 and self._characters() > self._most_characters):
            self._kept.popitem(last=False)

    def _characters(self) -> int:
        return sum(row.characters for scan in self._kept.values() for row in scan.sample)


def _as_named(scan: Scan) -> Scan:
    problems = tuple(each for each in scan.report.problems if each.code != _SAID_WHERE_NO_METHOD_IS_NAMED)
    return replace(scan, report=replace(scan.report, problems=problems))


def _key(source: RowSource, wishes: RowWishes) -> str:
    # The fingerprint of a large file is that of parts of it.
    files = [(name, [(file.name, file.changed_ns) for file in files]) for name, files in source.splits.items()]
    return repr((source.fingerprint, source.reference, source.notes, files, wishes))
