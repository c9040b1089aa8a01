"""Runs in a training environment: trains one step by a method's template on rows of each layout, in one process.

Arguments: the templates' folder, a work folder, a file of cases. A case is the method, the layout, the file of rows and
the changes to the template's recipe. Prints a line of JSON for each: what the rows became, and the loss of the step.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def prepared(run: dict[str, Any], folder: Path) -> Any:
    """Return what the template's trainer is made from."""
    jobs, sources = importlib.import_module("_job.job"), importlib.import_module("_job.source")
    arguments, devices = importlib.import_module("_job.arguments"), importlib.import_module("_job.device")
    processing = arguments.load_processing(run)
    data = sources.load_training_data(run, arguments.has_chat_template(processing, run["config"]), folder / "rows")
    return jobs.TrainingSetup(data, processing, devices.find_device(run["config"]), folder / "checkpoints")


def trained(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Train one step and return what was trained on and what came of it."""
    template = importlib.import_module(case["method"])
    template.RUN.clear()
    template.RUN.update(case["run"])
    setup = prepared(case["run"], folder)
    trainer = template.make_trainer(setup)
    trainer.train()
    steps = trainer.state.global_step
    return {"rows": len(setup.data.train), "columns": setup.data.train.column_names, "steps": steps}


def main() -> None:
    """Try every case."""
    templates, work, cases = sys.argv[1:]
    sys.path.insert(0, templates)
    for place, case in enumerate(json.loads(Path(cases).read_text(encoding="utf-8"))):
        folder = Path(work) / str(place)
        folder.mkdir(parents=True)
        names = {name: case[name] for name in ("method", "layout")}
        try:
            result = names | trained(case, folder)
        except (Exception, SystemExit) as error:  # noqa: BLE001  (told by the test, the other cases go on)
            result = names | {"error": f"{type(error).__name__}: {error}"[:500]}
        sys.stdout.write(f"PROBE {json.dumps(result)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
