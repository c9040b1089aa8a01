"""An MCP server that fine-tunes language models with TRL."""

__version__ = "0.1.0"
