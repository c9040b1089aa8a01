"""Where a job reads and writes, as its environment says."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class JobFolders:
    """The folder of the result, the one that training works in, and the one that outlives the job, where there is one."""

    output: Path
    work: Path
    kept: Path | None

    @property
    def checkpoints(self) -> Path:
        """The folder that the trainer writes its checkpoints to."""
        return self.work / "checkpoints"

    @property
    def rows(self) -> Path:
        """The folder of the converted rows."""
        return self.work / "rows"

    @property
    def mirror(self) -> Path | None:
        """The folder to copy checkpoints to, where training works elsewhere than in the folder that outlives the job."""
        return self.kept / "checkpoints" if self.kept and self.kept != self.work else None

    @property
    def final(self) -> Path | None:
        """The folder that outlives the job and has the result until it is pushed."""
        return self.kept / "final" if self.kept else None


def job_folders() -> JobFolders:
    """Return the folders that TRL_MCP_OUTPUT, TRL_MCP_RUN_FOLDER and TRL_MCP_WORK_FOLDER name, or their defaults here."""
    output = Path(os.environ.get("TRL_MCP_OUTPUT") or "output").absolute()
    run = os.environ.get("TRL_MCP_RUN_FOLDER")
    kept = Path(run).absolute() if run else None
    work = Path(os.environ.get("TRL_MCP_WORK_FOLDER") or kept or output / "run").absolute()
    return JobFolders(output=output, work=work, kept=kept)


def copy_folder(source: Path, target: Path, last: str) -> None:
    """Replace a folder by a copy of another one, with the file that makes it complete coming last."""
    shutil.rmtree(target, ignore_errors=True)
    for name in [*(name for name in files_below(source) if name != last), last]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        link_or_copy(source / name, target / name)


def files_below(folder: Path) -> list[str]:
    """List the files in a folder and below it by their paths from there."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it from beginning to end to where that cannot be."""
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
