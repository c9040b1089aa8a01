"""The tools, in the order a client sees them."""

from trl_mcp.tools import cancel_job, job_logs, job_status, start_job, submit_training

TOOLS = (submit_training.TOOL, start_job.TOOL, job_status.TOOL, job_logs.TOOL, cancel_job.TOOL)
