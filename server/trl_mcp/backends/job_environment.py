"""What a local job's processes see of the operator's environment variables: an allow-list, never all of them."""

from collections.abc import Mapping

from trl_mcp.backends.base import QUIET, quiet

# fmt: off
_NAMES = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TMP", "TEMP", "LD_LIBRARY_PATH",
        "DYLD_LIBRARY_PATH",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
        "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
        "HF_HOME", "HF_ENDPOINT", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_XET", "HF_HUB_DOWNLOAD_TIMEOUT",
        "HF_HUB_ETAG_TIMEOUT",
        "HF_XET_CACHE", "HF_ASSETS_CACHE", "TRANSFORMERS_OFFLINE", "TOKENIZERS_PARALLELISM",
    }
)
# fmt: on
_PREFIXES = (
    "LC_",
    "XDG_",
    "HF_DATASETS_",
    "CUDA_",
    "NVIDIA_",
    "NCCL_",
    "TRITON_",
    "TORCH_",
    "PYTORCH_",
    "OMP_",
    "MKL_",
)
_FOR_PREPARING = ("UV_", "PIP_")
# The supervisor keeps what the submitter gave apart from its own variables: building a package must not see secrets.
_GIVEN = "TRL_MCP_GIVEN_"


def for_supervisor(environ: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables a supervisor starts with; `given` are those meant for the job alone."""
    kept = {name: value for name, value in environ.items() if _is_allowed(name) or name.startswith(_FOR_PREPARING)}
    if "PYTHONPATH" in environ:  # for a server that runs from a checkout; it goes no further
        kept["PYTHONPATH"] = environ["PYTHONPATH"]
    return kept | {_GIVEN + name: value for name, value in given.items()}


def for_preparing(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables for making the job's Python environment, from those of the supervisor."""
    return {name: value for name, value in environ.items() if not name.startswith(_GIVEN)}


def for_job(environ: Mapping[str, str], own: Mapping[str, str], kind: str = "") -> dict[str, str]:
    """Return the variables of a job of this kind, from those of the supervisor; `own` win over all others."""
    allowed = {name: value for name, value in environ.items() if _is_allowed(name)}
    given = {name.removeprefix(_GIVEN): value for name, value in environ.items() if name.startswith(_GIVEN)}
    return quiet(kind) | allowed | given | dict(own)


def _is_allowed(name: str) -> bool:
    return name in _NAMES or name in QUIET or name.startswith(_PREFIXES)
