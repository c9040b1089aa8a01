"""One process for each GPU: a first process prepares everything, starts them, and ends as they end.

The processes are started here rather than by torch's launcher: that one turns every exit code into 1, and gives a
process that is asked to stop only 30 seconds to write its checkpoint.
"""

import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from _job.progress import PROGRESS_TAG, is_first_process, report
from _job.sharding import STRATEGIES, is_sharded, sharding_variables
from _job.training import EXIT_STOPPED_EARLY, EXIT_TERMINATED

HANDOVER_VARIABLE = "TRL_MCP_HANDOVER"
# How all processes may end together, each in its own time.
COMMON_EXITS = (0, EXIT_STOPPED_EARLY, EXIT_TERMINATED)
LAST_WORDS_S = 10.0


def obey_strategy(run: dict[str, Any]) -> None:
    """Hide all GPUs but the first where the run's strategy is single_gpu; to be called before torch looks for them."""
    strategy = run.get("strategy")
    if strategy not in STRATEGIES:
        known = ", ".join(filter(None, STRATEGIES))
        raise SystemExit(f"strategy {strategy} is none that this script knows: it is one of {known}")
    if strategy == "single_gpu":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0")
        os.environ["CUDA_VISIBLE_DEVICES"] = visible.partition(",")[0]


def process_count(run: dict[str, Any]) -> int:
    """Return how many processes shall train: one for each GPU that may be used.

    TRL_MCP_PROCESSES says another number, which tests use to train with several processes on a CPU.
    """
    if wanted := os.environ.get("TRL_MCP_PROCESSES"):
        return int(wanted)
    import torch

    count = 1 if run["config"].get("use_cpu") else max(1, torch.cuda.device_count())
    if count < 2 and is_sharded(run):
        raise SystemExit(f"strategy {run['strategy']} spreads a training over several GPUs, and there are not several")
    return count


def received_handover() -> Any:
    """Return what the first process has prepared, in a process that it started; None in that one itself."""
    path = os.environ.get(HANDOVER_VARIABLE)
    if path is None:
        if "RANK" in os.environ:
            raise SystemExit("start this script with python alone: it starts one process for each GPU by itself")
        return None
    threading.Thread(target=end_with_parent, daemon=True).start()
    return pickle.loads(Path(path).read_bytes())  # noqa: S301  (written by the process that started this one)


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, and with it the other end of its input."""
    os.read(0, 1)
    os._exit(1)


def end_other_process() -> None:
    """End this process at once, unless it is the first one: taking down what connects the processes may hang."""
    if not is_first_process():
        sys.stderr.flush()
        os._exit(0)


def launch_processes(run: dict[str, Any], count: int, prepared: Any, folder: Path) -> None:
    """Run this script in so many processes that share what is prepared; return, or end as the first that failed did."""
    path = folder / "handover.pickle"
    path.write_bytes(pickle.dumps(prepared))
    variables = shared_variables(count, path) | sharding_variables(run.get("strategy"))
    ended: queue.Queue[tuple[int, int]] = queue.Queue()
    processes = [start_process(rank, variables, ended) for rank in range(count)]

    def pass_on(number: int, *_: object) -> None:
        for process in processes:
            process.send_signal(number)

    previous = signal.signal(signal.SIGTERM, pass_on)
    try:
        code = wait_for_processes(processes, ended)
    finally:
        signal.signal(signal.SIGTERM, previous)
        for process in processes:
            process.kill()
    if code:
        raise SystemExit(code)


def shared_variables(count: int, handover: Path) -> dict[str, str]:
    """Return the variables by which the processes find one another, this process's progress tag and what it prepared."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    threads = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count))}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    own = {"LOCAL_WORLD_SIZE": str(count), "TRL_MCP_RUN_TAG": PROGRESS_TAG, HANDOVER_VARIABLE: str(handover)}
    return threads | dict(os.environ) | place | own


def start_process(rank: int, variables: dict[str, str], ended: Any) -> subprocess.Popen[bytes]:
    """Start one process, and have its rank and exit code put into the queue when it ends."""
    command = [sys.executable, *sys.orig_argv[1:]]
    ranks = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    process = subprocess.Popen(command, env=variables | ranks, stdin=subprocess.PIPE)
    threading.Thread(target=lambda: ended.put((rank, process.wait())), daemon=True).start()
    return process


def wait_for_processes(processes: list[subprocess.Popen[bytes]], ended: Any) -> int:
    """Return the exit code that the processes agree on; one that fails takes the others with it."""
    codes: dict[int, int] = {}
    while len(codes) < len(processes):
        rank, code = ended.get()
        codes[rank] = code if code >= 0 else 128 - code
        if codes[rank] not in COMMON_EXITS:
            if rank and not said_why(processes[0]):
                report("error", where="training", message=f"process {rank} ended with code {codes[rank]}: see the log")
            return codes[rank]
    return max(codes.values())


def said_why(first: subprocess.Popen[bytes]) -> bool:
    """Tell whether the process that speaks for all ends by itself too, given a moment for its last words."""
    try:
        return first.wait(LAST_WORDS_S) != 0
    except subprocess.TimeoutExpired:
        return False
