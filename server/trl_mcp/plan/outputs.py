"""The repository that a job writes to: whose it is, and what stands in the way."""

from trl_mcp.hub.values import OutputRepo
from trl_mcp.plan.place import Gathering, Place
from trl_mcp.values import Finding, Severity

REPO_FACT = "output repository"


async def output_repo(place: Place, default_name: str, gathering: Gathering) -> OutputRepo | None:
    """Return what is known of the repository to write to; None for a local job that pushes nothing."""
    if gathering.token is None or (place.is_local and place.output_repo is None):
        return None
    return await gathering.hub.output_repo(gathering.token, place.output_repo or f"{place.namespace}/{default_name}")


def is_foreign(repo: OutputRepo | None, key: str) -> bool:
    """Whether the repository is there and of another run."""
    return repo is not None and repo.exists and repo.run_key != key


def repo_fact(repo: OutputRepo | None, key: str) -> dict[str, str]:
    """Return whose the repository is, as one of the facts that a plan is made on."""
    owner = "one of another owner" if is_foreign(repo, key) else "a new one or this run's own"
    return {REPO_FACT: owner} if repo else {}


def repo_findings(place: Place, repo: OutputRepo | None, key: str) -> list[Finding]:
    """Return why the token may not run the job or keep its result, and what it would overwrite."""
    if place.identity is None or repo is None:
        return []
    found: list[Finding] = []
    if not place.is_local and (reason := place.identity.why_no_jobs(place.namespace)):
        found.append(Finding("auth.jobs", Severity.ERROR, reason))
    if reason := repo.why_no_write or place.identity.why_no_write(repo.id):
        found.append(Finding("auth.write", Severity.ERROR, reason, "Name an output_repo that the token may write to."))
    if is_foreign(repo, key):
        owner = f"holds the model of run {repo.run_key}" if repo.run_key else "exists and was not made by this server"
        message = f"{repo.id} {owner}; this run would overwrite it."
        found.append(Finding("output.overwrite", Severity.WARNING, message, "Starting the plan agrees to it."))
    return found
