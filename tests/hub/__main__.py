"""Run an emulated Hub by hand: python -m tests.hub --port 9000."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from tests.hub.server import EmulatedHub


def main() -> None:
    """Start a Hub, print how to reach it, and run until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tests.hub", description=main.__doc__)
    parser.add_argument("--port", type=int, default=0, help="loopback port, a free one by default")
    parser.add_argument("--root", type=Path, help="directory for its files, a temporary one by default")
    options = parser.parse_args()
    signals = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with EmulatedHub.start(options.root, port=options.port) as hub:
        lines = [f"HF_ENDPOINT={hub.endpoint}", f"viewer: {hub.viewer_endpoint}"]
        lines += [f"token {name}: {token}" for name, token in hub.tokens.items()]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
