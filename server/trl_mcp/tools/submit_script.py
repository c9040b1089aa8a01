"""Run a caller's own training script."""

from dataclasses import replace
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field

from trl_mcp.context import CallContext
from trl_mcp.plan.script import plan_script
from trl_mcp.recipes.script import STANDALONE, ScriptAsked, is_address, template_named
from trl_mcp.render.script import inline_job_modules
from trl_mcp.render.templates import template_source, templates_folder
from trl_mcp.schema import Arguments, NameTexts, Texts
from trl_mcp.tools.contract import Tool
from trl_mcp.tools.ready_made import Fetch, fetching
from trl_mcp.tools.submission import Consent, SubmissionResult, carry_out, place_wish, usd
from trl_mcp.values import ToolName


class SubmitScript(Arguments):
    """What to run, with what, and where."""

    script: str = Field(
        description="text of a Python script, https URL of one (GitHub pages too), or templates/seq2seq.py; a PEP 723 "
        "header is respected"
    )
    hardware: str = Field(description="local, or a flavor of Hugging Face Jobs (hardware://all)")
    timeout: str = Field(description="90m, 2h, ...")
    script_args: Texts = Field((), description='["--max_steps", "20"]')
    dependencies: Texts = Field((), description="packages beside those of its header")
    env: NameTexts = Field({}, description='["NAME=value"], never a secret')
    secrets: Texts = Field(
        (),
        description="names, default none: HF_TOKEN (to push, to read what is private), others the operator allows",
    )
    image: str | None = Field(
        None, description="Docker image for a paid job; a script without packages gets the image's own Python"
    )
    name: str | None = Field(None, description="for people")
    namespace: str | None = Field(None, description="user or organisation that pays. Default: yours")
    max_cost_usd: Annotated[float, Field(ge=0)] | None = Field(
        None, description="cap on price x timeout; paid and without it: a plan"
    )
    dry_run: bool = Field(False, description="only check; returns a plan for start_job")


async def submit_script(arguments: SubmitScript, context: CallContext) -> SubmissionResult:
    """Run any Python training script as it is, with the same plan, price ceiling, status and logs as a training. An URL
    is fetched once, now: the text that was checked and shown is what runs. Local: written files stay in output_path;
    paid: only what the script pushes is kept.
    """
    asked = await asked_script(arguments, fetching(context))
    plan = await plan_script(asked, place_wish(arguments), context.gathering, context.server.settings)
    return await carry_out(plan, Consent(arguments.dry_run, usd(arguments.max_cost_usd)), context)


async def asked_script(arguments: SubmitScript, fetch: Fetch) -> ScriptAsked:
    """Return what was asked, with the text of the script in the place of its address or name.

    Raises what `fetch` raises, InvalidArguments for a template that is no script of its own.
    """
    text = arguments.script
    given = arguments.model_dump(include={"script_args", "dependencies", "env", "secrets"})
    asked = ScriptAsked(text, image=arguments.image or "", name=arguments.name or "", **given)
    if is_address(text):
        # What stands behind the path may be a key to it, and is not for others to read.
        shown = urlsplit(text.strip())._replace(query="", fragment="").geturl()
        return replace(asked, script=await fetch(text), source=shown)
    template = template_named(text, [name for name in STANDALONE if (templates_folder() / f"{name}.py").is_file()])
    if template is None:
        return asked
    return replace(asked, script=inline_job_modules(template_source(template)), source=text.strip())


TOOL = Tool(
    name=ToolName.SUBMIT_SCRIPT,
    title="Run a script",
    arguments=SubmitScript,
    result=SubmissionResult,
    run=submit_script,
)
