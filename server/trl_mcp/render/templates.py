"""Where the templates lie, and their code that the server runs itself."""

import sys
from functools import cache
from importlib import import_module
from importlib.resources import files
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


def templates_folder() -> Path:
    """Return the folder of templates: inside an installed package, else beside `server/` in a checkout.

    An editable install leaves a copy of the templates next to the package's metadata; it is never read.
    """
    packaged = Path(str(files("trl_mcp"))) / "templates"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[3] / "templates"


def template_source(name: str) -> str:
    """Return the text of the template `name`."""
    return (templates_folder() / f"{name}.py").read_text(encoding="utf-8")


def job_module_source(name: str) -> str:
    """Return the text of the shared job module `_job/<name>.py`."""
    return (templates_folder() / "_job" / f"{name}.py").read_text(encoding="utf-8")


@cache
def job_module(name: str) -> ModuleType:
    """Load the shared job module `_job/<name>.py`, so that server and job run the same code.

    Only modules whose imports at top level are of the standard library can be loaded here.
    """
    if "_job" not in sys.modules:
        folder = templates_folder() / "_job"
        spec = spec_from_file_location("_job", folder / "__init__.py", submodule_search_locations=[str(folder)])
        if spec is None:
            raise FileNotFoundError(folder)
        sys.modules["_job"] = module_from_spec(spec)
    return import_module(f"_job.{name}")
