"""`python -m trl_mcp` is `trl-mcp`."""

import sys

from trl_mcp.cli import main

sys.exit(main())
