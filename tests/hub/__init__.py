"""An emulated Hugging Face Hub on a loopback port, for tests with the unmodified client libraries.

It keeps repositories, buckets and accounts below one directory, answers like the Hub, and really runs the jobs:

    with EmulatedHub.start(tmp_path) as hub:
        api = HfApi(endpoint=hub.endpoint, token=hub.tokens["alice"])
        hub.faults.add(Fault("POST", "/api/jobs/*", "drop_after"))
"""

from tests.hub.faults import Fault
from tests.hub.job_runner import RunOptions
from tests.hub.mounts import mounts_supported
from tests.hub.server import EmulatedHub

__all__ = ["EmulatedHub", "Fault", "RunOptions", "mounts_supported"]
