"""Write all that is generated: the tool reference, the settings, the checks, the floors of the house, the argument
tables.

`python docs/generate` writes; `python docs/generate --check` changes nothing and fails where something is stale.
The argument tables need the environments of the templates and are only made with `--tables`.
"""

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from argument_tables import argument_tables
from pages import checks_table, floors, never_accepted, settings_table, tool_reference

ROOT = Path(__file__).resolve().parents[2]
BLOCKS: dict[str, tuple[str, Callable[[], str]]] = {
    "tools": ("docs/tools.md", tool_reference),
    "settings": ("docs/settings.md", settings_table),
    "floors": ("docs/architecture.md", floors),
    "checks": ("docs/checks.md", checks_table),
    "never accepted": ("docs/checks.md", never_accepted),
}


def replaced(page: str, name: str, content: str) -> str:
    """Return a page with the generated block of this name filled anew. Raises ValueError where it has none."""
    begin, end = f"<!-- generated: {name} -->", "<!-- end -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"the page has no block {begin}")
    return pattern.sub(lambda _: f"{begin}\n{content.strip()}\n{end}", page)


def wanted(with_tables: bool) -> dict[Path, str]:
    """Return every generated file with the text it should have."""
    files = {ROOT / page: (ROOT / page).read_text(encoding="utf-8") for page, _ in BLOCKS.values()}
    for name, (page, make) in BLOCKS.items():
        files[ROOT / page] = replaced(files[ROOT / page], name, make())
    return files | (argument_tables(ROOT) if with_tables else {})


def main() -> int:
    """Write or check, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, fail where something is stale")
    parser.add_argument("--tables", action="store_true", help="the tables of trainer arguments too")
    options = parser.parse_args()
    files = wanted(options.tables)
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{'stale' if options.check else 'written'}: {path.relative_to(ROOT)}")
        if not options.check:
            path.write_text(files[path], encoding="utf-8")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
