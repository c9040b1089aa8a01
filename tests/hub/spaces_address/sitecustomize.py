"""What the name service is to clients of other hosts than the Hub's: it takes them to the one that HF_ENDPOINT names.

Trackio's client makes the address of a Space's app, https://<namespace>-<name>.hf.space/, by itself, and the client of
Inference Providers has that of its router, https://router.huggingface.co. A Python that has this folder in PYTHONPATH
reads this file when it starts; the clients are not otherwise changed.
"""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any


def hub() -> str:
    """Return the address of the Hub."""
    return os.environ["HF_ENDPOINT"].rstrip("/")


def address(space: str) -> str:
    """Return where the app of a Space answers."""
    return f"{hub()}/spaces/{space}/"


def find_spaces(client: ModuleType) -> None:
    """Lead Trackio's client to the apps of Spaces."""
    vars(client)["_space_id_to_url"] = address


def find_router(client: ModuleType) -> None:
    """Lead the client of Inference Providers to their router."""
    router = vars(client)["AutoRouterConversationalTask"]
    begin = router.__init__

    def begin_here(self: Any) -> None:
        begin(self)
        self.base_url = hub()

    router.__init__ = begin_here


CLIENTS: dict[str, Callable[[ModuleType], None]] = {
    "trackio.remote_client": find_spaces,
    "huggingface_hub.inference._providers._common": find_router,
}


class _Redirected(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        CLIENTS[module.__name__](module)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname in CLIENTS else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Redirected(spec.loader)
        return spec


if "HF_ENDPOINT" in os.environ:
    sys.meta_path.insert(0, _Finder())
