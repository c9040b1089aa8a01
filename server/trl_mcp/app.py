"""Builds the MCP server: registers tools and resources, and turns errors into tool errors that teach."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ResourceNotFoundError, ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool as RegisteredTool
from mcp.types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from mcp.types import Tool as ListedTool

from trl_mcp import __version__
from trl_mcp.backends.local import LocalBackend
from trl_mcp.clock import utc_now
from trl_mcp.context import CallContext, ServerContext
from trl_mcp.data.token_worker import TokenWorker
from trl_mcp.errors import TrlMcpError
from trl_mcp.hub.hub import Hub
from trl_mcp.monitor.masking import clean_line
from trl_mcp.plan.plan import PlanStore
from trl_mcp.schema import did_you_mean, portable_schema, read_arguments
from trl_mcp.settings import Settings
from trl_mcp.tools import TOOLS
from trl_mcp.tools.asking import PersonNeeded, ask_person
from trl_mcp.tools.contract import Tool, compact_text
from trl_mcp.tools.hardware import hardware_table
from trl_mcp.tools.job_ids import find_job
from trl_mcp.values import ToolName

AnyTool = Tool[Any, Any]

INSTRUCTIONS = f"""Fine-tunes language models with TRL. {ToolName.VALIDATE_DATASET} shows what a model would see of \
data and what is wrong with it; {ToolName.ESTIMATE_COST} what fits, how long it takes, what it costs. \
{ToolName.SUBMIT_TRAINING} checks all that, starts a run in the background and returns a job_id at once; dry_run=true \
returns a plan_id. {ToolName.JOB_STATUS} follows a job (wait_seconds up to 20; ask again after next_check_s), says where \
the model lies and what mends a failure. {ToolName.JOB_LOGS} reads its log. {ToolName.START_JOB} starts a plan, continues \
a job from its checkpoint, runs a completed one again. {ToolName.CANCEL_JOB} stops one. {ToolName.CONVERT_GGUF} makes \
files for llama.cpp and Ollama; {ToolName.SUBMIT_SCRIPT} runs any training script as it is. Every result names the next call. Folders are given by absolute path, a model also by \
the job_id that made it."""

OpenContext = Context[ServerContext, Any]


class TrainingServer(MCPServer[ServerContext]):
    """The MCP server with flat tool schemas, strict argument names and errors that teach."""

    def __init__(self, settings: Settings) -> None:
        @asynccontextmanager
        async def lifespan(_: MCPServer[ServerContext]) -> AsyncGenerator[ServerContext]:
            async with (
                Hub(settings.hub_endpoint, viewer=settings.viewer_url, cache=settings.home) as hub,
                TokenWorker(settings.home, settings.environ) as tokens,
            ):
                yield open_context(settings, hub, tokens)

        super().__init__(
            "trl-mcp",
            title="TRL fine-tuning",
            version=__version__,
            instructions=INSTRUCTIONS,
            log_level="WARNING",
            lifespan=lifespan,
            tools=[_registered(tool, settings) for tool in TOOLS],
        )
        _add_resources(self, settings)

    async def list_tools(self) -> list[ListedTool]:
        """Return the tools with portable schemas, always in the same order."""
        return [_listed(tool) for tool in TOOLS]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: OpenContext | None = None
    ) -> CallToolResult | InputRequiredResult:
        """Run a tool. A failure the caller can act on becomes a tool error with its own words and nothing else."""
        names = [tool.name.value for tool in TOOLS]
        if name not in names:
            raise ToolError(f'There is no tool "{name}".{did_you_mean(name, names)} Tools: {", ".join(names)}.')
        try:
            return await super().call_tool(name, {"arguments": arguments}, context)
        except UnexpectedToolError as error:
            raise UnexpectedToolError(
                f"{name} failed inside the server; its log says why. The call may be repeated."
            ) from error
        except ToolError as error:
            raise ToolError(str(error).removeprefix(f"Error executing tool {name}: ")) from error


def open_context(settings: Settings, hub: Hub, tokens: TokenWorker) -> ServerContext:
    """Return what lives as long as the server."""
    return ServerContext(
        settings=settings,
        clock=utc_now,
        local=LocalBackend(settings.home, environ=settings.environ),
        hub=hub,
        plans=PlanStore(settings.home / "plans"),
        tokens=tokens,
    )


def _call_context(context: OpenContext, settings: Settings) -> CallContext:
    return CallContext(
        server=context.request_context.lifespan_context,
        token=settings.environ.get("HF_TOKEN") or None,
        report_progress=context.report_progress,
        ask_person=partial(ask_person, context),
    )


def _registered(tool: AnyTool, settings: Settings) -> RegisteredTool:
    """Return the tool as the SDK runs it: it takes the arguments whole, so that names can be checked and translated."""

    async def run(arguments: dict[str, Any], context: OpenContext) -> CallToolResult | InputRequiredResult:
        return await _answer(tool, arguments, _call_context(context, settings))

    return RegisteredTool.from_function(run, name=tool.name.value, description=tool.description)


async def _answer(
    tool: AnyTool, arguments: dict[str, Any], context: CallContext
) -> CallToolResult | InputRequiredResult:
    try:
        given, findings = tool.translate(arguments)
        read = read_arguments(tool.arguments, given)
        result = await tool.run(read, _with_findings(context, findings))
    except TrlMcpError as error:
        raise ToolError(_words(error, context)) from None
    except PersonNeeded as needed:
        return needed.question
    return CallToolResult(
        content=[TextContent(type="text", text=compact_text(result))],
        structured_content=result.model_dump(mode="json", exclude_none=True),
    )


def _with_findings(context: CallContext, findings: Any) -> CallContext:
    return replace(context, findings=findings)


def _listed(tool: AnyTool) -> ListedTool:
    return ListedTool(
        name=tool.name.value,
        title=tool.title,
        description=tool.description,
        input_schema=portable_schema(tool.arguments),
        output_schema=portable_schema(tool.result, mode="serialization"),
        annotations=ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.reads_only,
            destructive_hint=tool.is_destructive,
            idempotent_hint=tool.is_idempotent,
            open_world_hint=True,
        ),
    )


def _add_resources(server: TrainingServer, settings: Settings) -> None:
    @server.resource("plan://{plan_id}/script", title="Script of a plan", mime_type="text/x-python")
    async def plan_script(plan_id: str, ctx: OpenContext) -> str:
        """Return the script that a plan would run."""
        context = _call_context(ctx, settings)

        async def read() -> str:
            return context.server.plans.load(plan_id, context.caller).script

        return await _readable(read, context)

    @server.resource("job://{namespace}/{job_id}/script", title="Script of a job", mime_type="text/x-python")
    async def job_script(namespace: str, job_id: str, ctx: OpenContext) -> str:
        """Return the script that a job runs."""
        context = _call_context(ctx, settings)

        async def read() -> str:
            job = await find_job(f"{namespace}/{job_id}", context)
            return await context.backend_of(job).script(job.id)

        return await _readable(read, context)

    @server.resource("hardware://{kind}", title="Hardware with live prices", mime_type="text/markdown")
    async def hardware(kind: str, ctx: OpenContext) -> str:
        """Return today's machines of Hugging Face Jobs with their prices; kind is all, gpu or cpu."""
        context = _call_context(ctx, settings)

        async def read() -> str:
            return await hardware_table(context, kind)

        return await _readable(read, context)

    _ = plan_script, job_script, hardware


async def _readable(read: Callable[[], Awaitable[str]], context: CallContext) -> str:
    try:
        return await read()
    except TrlMcpError as error:
        raise ResourceNotFoundError(_words(error, context)) from None


def _words(error: TrlMcpError, context: CallContext) -> str:
    """Return what an error says, on one line and without secrets."""
    return clean_line(" ".join(str(error).split()), context.secrets())
