"""Questions asked side by side."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

One = TypeVar("One")
Other = TypeVar("Other")


async def both(one: Callable[[], Awaitable[One]], other: Callable[[], Awaitable[Other]]) -> tuple[One, Other]:
    """Return the answers to two questions asked at once. Raises the first error itself, and ends the other question."""
    first: list[One] = []
    second: list[Other] = []

    async def ask_one() -> None:
        first.append(await one())

    async def ask_other() -> None:
        second.append(await other())

    try:
        async with anyio.create_task_group() as group:
            group.start_soon(ask_one)
            group.start_soon(ask_other)
    except ExceptionGroup as error_group:
        raise error_group.exceptions[0] from None
    return first[0], second[0]
