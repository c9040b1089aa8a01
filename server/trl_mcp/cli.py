"""The command line: `trl-mcp` alone serves over stdio."""

import argparse
import gc
import os
import sys

from trl_mcp import __version__


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the arguments name and return its exit code."""
    parsed = _parser().parse_args(arguments)
    return _COMMANDS[parsed.command or "stdio"](parsed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="trl-mcp", description="An MCP server that fine-tunes models with TRL.")
    parser.add_argument("--version", action="version", version=f"trl-mcp {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    commands.add_parser("stdio", help="serve over stdio (the default)")
    demo = commands.add_parser("demo", help="fine-tune a model on this machine and see what it has learned")
    demo.add_argument("--model", help="a Hub id or model folder; left out: a tiny model made on the spot")
    demo.add_argument("--dataset", help="a Hub id or data file; left out: ten questions made on the spot")
    commands.add_parser("doctor", help="look for what would break")
    clean = commands.add_parser("clean", help="show what is kept, and free what is named")
    clean.add_argument(
        "kinds", nargs="*", metavar="kind", help="jobs, checkpoints, environments, plans, metrics, bucket"
    )
    render = commands.add_parser("render", help="print the self-contained script of a template")
    render.add_argument("template", help="the name of a template, such as sft")
    return parser


def _stdio(_: argparse.Namespace) -> int:
    # Collecting garbage while modules load finds none and costs a tenth of the start.
    gc.disable()
    from trl_mcp.app import TrainingServer
    from trl_mcp.errors import TrlMcpError
    from trl_mcp.settings import Settings

    gc.freeze()
    gc.enable()
    try:
        settings = Settings.from_environ(os.environ)
    except TrlMcpError as error:
        print(error, file=sys.stderr)
        return 2
    TrainingServer(settings).run("stdio")
    return 0


def _demo(parsed: argparse.Namespace) -> int:
    from trl_mcp.demo import run_demo

    return run_demo(parsed.model, parsed.dataset)


def _doctor(_: argparse.Namespace) -> int:
    from trl_mcp.doctor import run_doctor

    return run_doctor()


def _clean(parsed: argparse.Namespace) -> int:
    from trl_mcp.clean import KINDS, run_clean

    unknown = [kind for kind in parsed.kinds if kind not in KINDS]
    if unknown:
        print(f"{', '.join(unknown)} cannot be cleaned. What can: {', '.join(KINDS)}.", file=sys.stderr)
        return 2
    return run_clean(parsed.kinds)


def _render(parsed: argparse.Namespace) -> int:
    from trl_mcp.render.script import inline_job_modules
    from trl_mcp.render.templates import template_source

    try:
        print(inline_job_modules(template_source(parsed.template)), end="")
    except FileNotFoundError:
        print(f"There is no template {parsed.template}.", file=sys.stderr)
        return 2
    return 0


_COMMANDS = {"stdio": _stdio, "demo": _demo, "doctor": _doctor, "clean": _clean, "render": _render}
