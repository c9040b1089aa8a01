"""The training methods: one module each, with its METHOD. What lies here can be trained."""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import cast

from trl_mcp.recipes.method import Method


def _found() -> Mapping[str, Method]:
    modules = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    methods = (cast(Method, module.METHOD) for module in modules)
    return MappingProxyType({method.name: method for method in methods})


METHODS = _found()
