"""What the name service is to Trackio's client: it takes the app of a Space to the Hub that HF_ENDPOINT names.

The client makes the address of the app, https://<namespace>-<name>.hf.space/, by itself. A Python that has this folder
in PYTHONPATH reads this file when it starts; the client is not otherwise changed.
"""

import os
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

CLIENT = "trackio.remote_client"


def address(space: str) -> str:
    """Return where the app of a Space answers."""
    return f"{os.environ['HF_ENDPOINT'].rstrip('/')}/spaces/{space}/"


class _Redirected(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        vars(module)["_space_id_to_url"] = address


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == CLIENT else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Redirected(spec.loader)
        return spec


if "HF_ENDPOINT" in os.environ:
    sys.meta_path.insert(0, _Finder())
