"""Runs of the sft template against an emulated Hub."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.hub import EmulatedHub
from tests.templates.job_runs import Job, JobRuns

OUTPUT = "alice/codes"
RUN_KEY = "0123abcd"
CODES = {f"What is the code of item {item}?": f"The code is {item * 7 % 100}." for item in range(10)}
LORA = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.1, "target_modules": "all-linear", "task_type": "CAUSAL_LM"}


def chat_lines() -> str:
    """Return 80 conversations as JSON Lines."""
    turns = [[{"role": "user", "content": ask}, {"role": "assistant", "content": say}] for ask, say in CODES.items()]
    return "\n".join([json.dumps({"messages": messages}) for messages in turns] * 8)


def impatient(templates: Path) -> None:
    """Change a copy of the templates to wait hardly at all between requests, and to show no samples."""
    for name, was, new in (("hub", "WAIT_S = 5.0", "WAIT_S = 0.01"), ("samples", "LIMIT = 10", "LIMIT = 0")):
        module = templates / "_job" / f"{name}.py"
        text = module.read_text(encoding="utf-8")
        assert was in text
        module.write_text(text.replace(was, new), encoding="utf-8")


class HubRuns:
    """Starts jobs that push to a Hub, by default as alice."""

    def __init__(self, runs: JobRuns, hub: EmulatedHub) -> None:
        """Keep what runs jobs, and the Hub."""
        self.runs = runs
        self.hub = hub
        self.jobs: list[Job] = []

    def start(
        self,
        changes: Mapping[str, Any],
        token: str = "alice",
        edit: Callable[[Path], None] = impatient,
        **variables: str,
    ) -> Job:
        """Start a run with an output repository; RUN_FOLDER and WORK_FOLDER name folders, none by default."""
        places = {f"TRL_MCP_{name}": variables.get(name, "") for name in ("RUN_FOLDER", "WORK_FOLDER")}
        recipe = {"run_key": RUN_KEY, "output_repo": OUTPUT, **changes}
        given = {**self.client_variables(), "HF_TOKEN": self.hub.tokens.get(token, ""), **places}
        self.jobs.append(self.runs.start("sft", recipe, edit=edit, variables=given))
        return self.jobs[-1]

    def client_variables(self) -> dict[str, str]:
        """Return the variables that lead client libraries to the Hub."""
        return {"HF_ENDPOINT": self.hub.endpoint, "HF_HUB_OFFLINE": "", "HF_HUB_DISABLE_TELEMETRY": "1"}

    def token(self) -> dict[str, str]:
        """Return the variable with the token of alice."""
        return {"HF_TOKEN": self.hub.tokens["alice"]}

    def python(self, code: str, folder: Path, *arguments: str) -> Any:
        """Run a program as alice in the training environment; return the JSON value of the last line it prints."""
        variables = self.client_variables() | self.token()
        return self.runs.program(code, folder, *arguments, variables=variables)

    def read_json(self, path: str, repo: str = OUTPUT) -> Any:
        """Return what a JSON file of a repository holds."""
        return json.loads(self.hub.read_file(repo, path))
