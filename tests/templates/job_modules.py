"""The shared modules of the templates, imported as a template imports them, and the templates' places."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

TEMPLATES = Path(__file__).parents[2] / "templates"
TEMPLATE_FILES = sorted(TEMPLATES.glob("*.py"))
SHARED_FILES = sorted(path for path in (TEMPLATES / "_job").glob("*.py") if path.name != "__init__.py")


def load_shared(name: str) -> ModuleType:
    """Import one shared module of the templates."""
    if str(TEMPLATES) not in sys.path:
        sys.path.insert(0, str(TEMPLATES))
    return importlib.import_module(f"_job.{name}")
