"""The tools, in the order a client sees them."""

from trl_mcp.tools import (
    cancel_job,
    convert_gguf,
    estimate_cost,
    job_logs,
    job_status,
    start_job,
    submit_script,
    submit_training,
    validate_dataset,
)

TOOLS = (
    submit_training.TOOL,
    start_job.TOOL,
    validate_dataset.TOOL,
    estimate_cost.TOOL,
    job_status.TOOL,
    job_logs.TOOL,
    cancel_job.TOOL,
    convert_gguf.TOOL,
    submit_script.TOOL,
)
