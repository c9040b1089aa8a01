"""The process that counts tokens: started with the first question, kept warm, ended where it overruns."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.to_thread
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from trl_mcp import environments
from trl_mcp.backends.job_environment import for_job, for_preparing, for_supervisor
from trl_mcp.errors import NotPossible
from trl_mcp.render.templates import template_source, templates_folder

TEMPLATE = "count_tokens"
_LONGEST_ANSWER = 256_000_000
_TOO_LARGE = "A chat template that writes without end, or a row of many megabytes, does this; look at both."
_LATER = "Ask again in a minute, or run `trl-mcp doctor` once, which makes it."


class TokensOverrun(NotPossible):
    """Counting took too long or too much memory: a chat template or a row that would hold up a job as well."""


class TokensRefused(NotPossible):
    """The trainer's config asks for what TRL refuses; `code` names the check that finds it."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


class TokenWorker:
    """One process that counts tokens, asked one question at a time; an asynchronous context.

    It runs in an environment of its own, made when it is first needed, with no token and no secret.
    """

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        self._home = home
        self._environ = environ
        self._tasks = anyio.create_task_group()
        self._turn = anyio.Lock()
        self._made: anyio.Event | None = None
        self._python: Path | None = None
        self._failure: NotPossible | None = None
        self._process: Process | None = None
        self._answers: BufferedByteReceiveStream | None = None
        self._asked = 0

    async def __aenter__(self) -> Self:
        """Open the context; nothing is started yet."""
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """End the process, and the making of its environment."""
        self._tasks.cancel_scope.cancel()
        try:
            return await self._tasks.__aexit__(kind, error, trace)
        finally:
            await self._end()

    def warm_up(self) -> None:
        """Begin to make the environment and to start the process, and do not wait for either."""
        self._tasks.start_soon(self._start_quietly)

    async def ask(self, do: str, seconds: float, **request: Any) -> Any:
        """Return the worker's answer to one request, within the time.

        Raises NotPossible where the environment cannot be made or is not ready in time, where the request cannot be
        answered (TokensRefused where TRL would refuse it, too), and where the worker overruns or dies; it is then
        ended, and the next question starts another.
        """
        with anyio.move_on_after(seconds):
            await self._environment()
            async with self._turn:
                return await self._answer({"do": do, **request})
        if self._python is None:
            raise NotPossible("The environment that tokens are counted in is still being made.", next_step=_LATER)
        raise TokensOverrun(
            f"Counting tokens did not end within {seconds:.0f} s.",
            next_step="A chat template that loops, or a row of many megabytes, does this; look at both.",
        )

    def _making(self) -> anyio.Event | None:
        """Return what is set when the environment is made, None where it is; begin to make it where nobody has."""
        if self._python is not None:
            return None
        if self._made is None:
            self._made = anyio.Event()
            self._failure = None
            self._tasks.start_soon(self._make, self._made)
        return self._made

    async def _environment(self) -> None:
        making = self._making()
        if making is not None:
            await making.wait()
            if self._failure is not None:
                raise self._failure

    async def _make(self, made: anyio.Event) -> None:
        """Make the environment in a process of its own, which ends with the server."""
        try:
            self._python = await make_environment(self._home, self._environ)
        except NotPossible as failure:
            self._failure = failure
        finally:
            self._made = None  # after a failure the next question tries again
            made.set()

    async def _start_quietly(self) -> None:
        with suppress(NotPossible):
            await self._environment()
            async with self._turn:
                await self._running()

    async def _running(self) -> tuple[Process, BufferedByteReceiveStream]:
        """Return the process, started where there is none."""
        if self._process is None or self._answers is None or self._process.returncode is not None:
            await self._end()
            command = [str(self._python), str(templates_folder() / f"{TEMPLATE}.py")]
            # A process that is started while nobody waits any more must still be known, to be ended.
            with anyio.CancelScope(shield=True):
                self._process = await _open(command, for_job(self._environ, {"PYTHONDONTWRITEBYTECODE": "1"}))
            assert self._process is not None
            assert self._process.stdout is not None
            self._answers = BufferedByteReceiveStream(self._process.stdout)
        return self._process, self._answers

    async def _answer(self, request: dict[str, Any]) -> Any:
        process, answers = await self._running()
        self._asked += 1
        answered = False
        try:
            assert process.stdin is not None
            await process.stdin.send(json.dumps({"id": self._asked, **request}).encode() + b"\n")
            answer = json.loads(await answers.receive_until(b"\n", _LONGEST_ANSWER))
            answered = answer.get("id") == self._asked
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.DelimiterNotFound):
            raise TokensOverrun(
                "The process that counts tokens ended in the middle of a question, for want of memory most likely.",
                next_step=_TOO_LARGE,
            ) from None
        finally:
            if not answered:
                await self._end()
        if "overran" in answer:
            raise TokensOverrun(f"Tokens cannot be counted: {answer['error']}.", next_step=_TOO_LARGE)
        if "refused" in answer:
            raise TokensRefused(answer["refused"], answer["error"])
        if "error" in answer:
            raise NotPossible(f"Tokens cannot be counted: {answer['error']}.")
        return answer["answer"]

    async def _end(self) -> None:
        process, self._process, self._answers = self._process, None, None
        if process is not None:
            await _kill(process)


async def make_environment(home: Path, environ: Mapping[str, str]) -> Path:
    """Return the interpreter of the worker's environment, made now where it is missing. Raises NotPossible."""
    allowed = for_preparing(for_supervisor(environ, {}))
    script = template_source(TEMPLATE)
    made = await anyio.to_thread.run_sync(environments.made, script, home, allowed)
    if made is not None:
        return made
    source = str(templates_folder() / f"{TEMPLATE}.py")
    command = [sys.executable, "-P", "-m", "trl_mcp.environments", source, str(home)]

    def make() -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            command,
            env=allowed,
            check=False,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    # It goes on when the server ends: for a client that starts a server for every call it would never be made.
    done = await anyio.to_thread.run_sync(make, abandon_on_cancel=True)
    said, code = done.stdout.decode(errors="replace").strip(), done.returncode
    last = said.splitlines()[-1] if said else "The environment could not be made."
    if code:
        raise NotPossible(last)
    return Path(last)


async def _open(command: Sequence[str], environ: Mapping[str, str]) -> Process:
    try:
        return await anyio.open_process(
            command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ, start_new_session=True
        )
    except OSError as error:
        raise NotPossible(f"The process that counts tokens cannot be started: {error.strerror}.") from None


async def _kill(process: Process) -> None:
    """End a process and what it started, and wait for its end."""
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                if hasattr(os, "killpg"):
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
            await process.wait()
        await process.aclose()
