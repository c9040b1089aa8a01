"""The library of llama.cpp: quantising a GGUF file, and running one, through its C API.

The structures are those of include/llama.h in the release that LLAMA_RELEASE names, and no other.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LLAMA_RELEASE = "0.5.0"
# enum llama_ftype
FILE_TYPES = {
    "F16": 1,
    "Q8_0": 7,
    "Q2_K": 10,
    "Q3_K_S": 11,
    "Q3_K_M": 12,
    "Q3_K_L": 13,
    "Q4_K_S": 14,
    "Q4_K_M": 15,
    "Q5_K_S": 16,
    "Q5_K_M": 17,
    "Q6_K": 18,
    "IQ4_NL": 25,
    "IQ4_XS": 30,
    "BF16": 32,
}
PIECE_TOKENS = 512
LOG_ERROR = 4
GGML_TYPE_F16 = 1


def structure(name: str, fields: str) -> type[ctypes.Structure]:
    """Return a C structure from a line such as `int a b; bool c; pointer d`."""
    kinds = {
        "int": ctypes.c_int32,
        "unsigned": ctypes.c_uint32,
        "float": ctypes.c_float,
        "bool": ctypes.c_bool,
        "pointer": ctypes.c_void_p,
        "size": ctypes.c_size_t,
    }
    parts = [part.split() for part in fields.split(";")]
    return type(
        name, (ctypes.Structure,), {"_fields_": [(each, kinds[part[0]]) for part in parts for each in part[1:]]}
    )


ModelOptions = structure(
    "ModelOptions",
    "pointer devices tensor_buft_overrides; int n_gpu_layers split_mode load_mode lazy_mode main_gpu;"
    "pointer tensor_split progress_callback progress_callback_user_data kv_overrides;"
    "bool vocab_only check_tensors use_extra_bufts no_host no_alloc load_mtp",
)
ContextOptions = structure(
    "ContextOptions",
    "unsigned n_ctx n_batch n_ubatch n_seq_max n_rs_seq n_outputs_max n_outputs_max_per_seq;"
    "int n_threads n_threads_batch ctx_type rope_scaling_type pooling_type attention_type flash_attn_type;"
    "float rope_freq_base rope_freq_scale yarn_ext_factor yarn_attn_factor yarn_beta_fast yarn_beta_slow;"
    "unsigned yarn_orig_ctx; float defrag_thold; pointer cb_eval cb_eval_user_data; int type_k type_v;"
    "pointer abort_callback abort_callback_data;"
    "bool embeddings offload_kqv no_perf op_offload swa_full kv_unified; pointer samplers; size n_samplers;"
    "pointer ctx_other",
)
QuantizeOptions = structure(
    "QuantizeOptions",
    "int nthread ftype output_tensor_type token_embedding_type;"
    "bool allow_requantize quantize_output_tensor only_copy pure keep_split dry_run;"
    "pointer imatrix kv_overrides tt_overrides prune_layers; size max_buf_size",
)
Batch = structure("Batch", "int n_tokens; pointer token embd pos n_seq_id seq_id logits")
# Known defaults at the beginning, in the middle and at the end: read through another layout they would differ.
KNOWN_DEFAULTS: dict[str, dict[str, Any]] = {
    "model": {"devices": None, "n_gpu_layers": -1, "split_mode": 1, "main_gpu": 0, "vocab_only": False}
    | {"kv_overrides": None, "use_extra_bufts": True, "no_host": False, "load_mtp": False},
    "context": {"n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "n_outputs_max_per_seq": 1, "flash_attn_type": -1}
    | {"yarn_ext_factor": -1.0, "yarn_orig_ctx": 0, "defrag_thold": -1.0, "type_k": GGML_TYPE_F16}
    | {"type_v": GGML_TYPE_F16, "embeddings": False, "offload_kqv": True, "no_perf": True, "op_offload": True}
    | {"swa_full": True, "kv_unified": False, "samplers": None, "n_samplers": 0, "ctx_other": None},
    "model_quantize": {"nthread": 0, "ftype": FILE_TYPES["Q8_0"], "quantize_output_tensor": True, "only_copy": False}
    | {"pure": False, "dry_run": False, "imatrix": None, "prune_layers": None, "max_buf_size": 8 << 30},
}
OPTION_TYPES = {"model": ModelOptions, "context": ContextOptions, "model_quantize": QuantizeOptions}
# The functions that are called: what they return, then what they take. p is a pointer, s a text, i a number of 32 bits.
SIGNATURES = {
    "llama_backend_init": "",
    "llama_version": "s",
    "llama_model_load_from_file": "psM",
    "llama_model_free": " p",
    "llama_init_from_model": "ppC",
    "llama_free": " p",
    "llama_model_get_vocab": "pp",
    "llama_model_chat_template": "spp",
    "llama_model_meta_val_str": "ipspz",
    "llama_model_n_params": "lp",
    "llama_vocab_n_tokens": "ip",
    "llama_vocab_eos": "ip",
    "llama_vocab_is_eog": "bpi",
    "llama_tokenize": "ipsipibb",
    "llama_batch_get_one": "Bpi",
    "llama_decode": "ipB",
    "llama_get_logits_ith": "ppi",
    "llama_batch_init": "Biii",
    "llama_batch_free": " B",
    "llama_model_quantize": "issp",
}


class GgufError(Exception):
    """What the library or the converter could not do; the message is for a reader."""


class LlamaLibrary:
    """The loaded library. What it logs is kept, so that a failure can be explained."""

    def __init__(self, folder: Path, threads: int) -> None:
        """Load the library of a folder. Raises GgufError where it is not of the release that this was written for."""
        self.threads = threads
        self.said: list[str] = []
        self.functions = load_functions(folder)
        # Kept for as long as the library may call it.
        self.listener = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(self.listen)
        self.functions.llama_log_set(self.listener, None)
        release = self.functions.llama_version().decode()
        if not release.removeprefix("v").startswith(LLAMA_RELEASE):
            raise GgufError(f"the library in {folder.name} is llama.cpp {release}, not {LLAMA_RELEASE}")
        for name in OPTION_TYPES:
            check_layout(name, self.default_options(name))
        self.functions.llama_backend_init()

    def listen(self, level: int, text: bytes, _: Any) -> None:
        """Keep a line of the library's log."""
        self.said.append(f"{level} {text.decode(errors='replace').strip()}")

    def default_options(self, name: str) -> Any:
        """Return the defaults of the options for a model, for a context, or to quantise."""
        return getattr(self.functions, f"llama_{name}_default_params")()

    def last_error(self) -> str:
        """Return the errors that the library logged since the last call."""
        errors = [line.partition(" ")[2] for line in self.said if line.startswith(f"{LOG_ERROR} ")]
        return "; ".join(errors) or "the library does not say why"

    def quantize(self, source: Path, target: Path, quantization: str) -> int:
        """Write a quantised copy of a GGUF file; return how many tensors had to take another type. Raises GgufError."""
        options = self.default_options("model_quantize")
        options.ftype, options.nthread = FILE_TYPES[quantization], self.threads
        self.said.clear()
        arguments = (str(source).encode(), str(target).encode(), ctypes.byref(options))
        if self.functions.llama_model_quantize(*arguments):
            raise GgufError(f"{quantization} cannot be made: {self.last_error()}")
        return sum("fallback" in line for line in self.said)

    @contextmanager
    def open_file(self, path: Path, context_tokens: int) -> Iterator["LlamaFile"]:
        """Load a GGUF file, to be used until the block ends. Raises GgufError where it cannot be loaded."""
        options = self.default_options("model")
        options.n_gpu_layers = 0
        # The type of every value is looked at while loading: what is damaged fails here.
        options.check_tensors = True
        self.said.clear()
        model = self.functions.llama_model_load_from_file(str(path).encode(), options)
        if not model:
            raise GgufError(f"{path.name} cannot be loaded: {self.last_error()}")
        try:
            yield LlamaFile(self, model, context_tokens)
        finally:
            self.functions.llama_model_free(model)


class LlamaFile:
    """A GGUF file that is loaded: its words, and the logits that it computes."""

    def __init__(self, library: LlamaLibrary, model: Any, context_tokens: int) -> None:
        """Keep what the library handed out."""
        self.library = library
        self.functions = library.functions
        self.model = model
        self.vocab = self.functions.llama_model_get_vocab(model)
        self.words: int = self.functions.llama_vocab_n_tokens(self.vocab)
        self.context_tokens = context_tokens

    @property
    def parameters(self) -> int:
        """How many numbers the file holds."""
        return self.functions.llama_model_n_params(self.model)

    @property
    def chat_template(self) -> str | None:
        """The chat template in the file."""
        text = self.functions.llama_model_chat_template(self.model, None)
        return text.decode() if text else None

    @property
    def end_token(self) -> int:
        """The id of the token that ends a text."""
        return self.functions.llama_vocab_eos(self.vocab)

    def ends_answer(self, token: int) -> bool:
        """Tell whether generation stops at the token."""
        return bool(self.functions.llama_vocab_is_eog(self.vocab, token))

    def token_ids(self, text: str, with_special: bool) -> list[int]:
        """Return the ids of a text, special tokens in it included, with or without those that go around a text."""
        data = text.encode()
        room = len(data) + 8
        ids = (ctypes.c_int32 * room)()
        count = self.functions.llama_tokenize(self.vocab, data, len(data), ids, room, with_special, True)
        if count < 0:
            raise GgufError(f"the file gives {-count} tokens for {len(data)} bytes of text")
        return list(ids[:count])

    @contextmanager
    def fresh_context(self) -> Iterator[Any]:
        """Open a context that has read nothing."""
        options = self.library.default_options("context")
        options.n_ctx = self.context_tokens
        options.n_batch = options.n_ubatch = options.n_outputs_max = PIECE_TOKENS
        options.n_outputs_max_per_seq = PIECE_TOKENS
        options.n_threads = options.n_threads_batch = self.library.threads
        context = self.functions.llama_init_from_model(self.model, options)
        if not context:
            raise GgufError(f"no context could be made: {self.library.last_error()}")
        try:
            yield context
        finally:
            self.functions.llama_free(context)

    def logits(self, ids: list[int]) -> Any:
        """Return the logits after each token of a text: an array of float32, tokens by words."""
        import numpy as np

        rows = np.empty((len(ids), self.words), dtype=np.float32)
        with self.fresh_context() as context:
            for start in range(0, len(ids), PIECE_TOKENS):
                piece = ids[start : start + PIECE_TOKENS]
                self.read_piece(context, piece, start)
                for index in range(len(piece)):
                    rows[start + index] = self.row(context, index)
        return rows

    def read_piece(self, context: Any, piece: list[int], start: int) -> None:
        """Let a context read tokens, and keep the logits after each of them."""
        batch = self.functions.llama_batch_init(len(piece), 0, 1)
        try:
            batch.n_tokens = len(piece)
            numbers = ctypes.POINTER(ctypes.c_int32)
            sequences = ctypes.cast(batch.seq_id, ctypes.POINTER(numbers))
            for index, token in enumerate(piece):
                ctypes.cast(batch.token, numbers)[index] = token
                ctypes.cast(batch.pos, numbers)[index] = start + index
                ctypes.cast(batch.n_seq_id, numbers)[index] = 1
                sequences[index][0] = 0
                ctypes.cast(batch.logits, ctypes.POINTER(ctypes.c_int8))[index] = 1
            self.decode(context, batch)
        finally:
            self.functions.llama_batch_free(batch)

    def decode(self, context: Any, batch: Any) -> None:
        """Let a context read a batch. Raises GgufError where it cannot."""
        code = self.functions.llama_decode(context, batch)
        if code:
            raise GgufError(f"the file cannot be run ({code}): {self.library.last_error()}")

    def row(self, context: Any, index: int) -> Any:
        """Return the logits that a context keeps at an index."""
        import numpy as np

        address = self.functions.llama_get_logits_ith(context, index)
        if not address:
            raise GgufError(f"there are no logits: {self.library.last_error()}")
        return np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_float)), (self.words,)).copy()

    def greedy_answer(self, prompt: list[int], most_tokens: int) -> tuple[list[int], bool]:
        """Return the likeliest continuation without the token that ends it, and whether one did."""
        answer: list[int] = []
        with self.fresh_context() as context:
            piece = prompt
            while len(answer) < most_tokens:
                numbers = (ctypes.c_int32 * len(piece))(*piece)
                batch = self.functions.llama_batch_get_one(numbers, len(piece))
                self.decode(context, batch)
                token = int(self.row(context, -1).argmax())
                if self.ends_answer(token):
                    return answer, True
                answer.append(token)
                piece = [token]
        return answer, False


def load_functions(folder: Path) -> Any:
    """Load the libraries of a folder, the processor's variant among them, and declare the functions."""
    suffix = f".v{LLAMA_RELEASE}.so"
    try:
        llama = ctypes.CDLL(str(folder / f"libllama{suffix}"), mode=ctypes.RTLD_GLOBAL)
        ggml = ctypes.CDLL(str(folder / f"libggml{suffix}"), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise GgufError(f"the library of llama.cpp cannot be loaded on this machine: {error}") from None
    ggml.ggml_backend_load_all_from_path.argtypes = [ctypes.c_char_p]
    ggml.ggml_backend_load_all_from_path(str(folder).encode())
    for name, options in OPTION_TYPES.items():
        getattr(llama, f"llama_{name}_default_params").restype = options
    for name, kinds in SIGNATURES.items():
        declare(getattr(llama, name), kinds)
    return llama


def declare(function: Any, kinds: str) -> None:
    """Declare what a function returns and takes."""
    types: dict[str, Any] = {
        "p": ctypes.c_void_p,
        "s": ctypes.c_char_p,
        "i": ctypes.c_int32,
        "l": ctypes.c_uint64,
        "z": ctypes.c_size_t,
        "b": ctypes.c_bool,
        "M": ModelOptions,
        "C": ContextOptions,
        "B": Batch,
        " ": None,
    }
    if kinds:
        function.restype = types[kinds[0]]
        function.argtypes = [types[kind] for kind in kinds[1:]]


def check_layout(name: str, options: Any) -> None:
    """Raise GgufError unless the defaults come back as the release has them: the layout would be another one."""
    known = KNOWN_DEFAULTS[name]
    found = {field: getattr(options, field) for field in known}
    if found != known:
        differing = ", ".join(field for field in known if found[field] != known[field])
        raise GgufError(
            f"the library's options for {name} have another layout than llama.cpp {LLAMA_RELEASE}: {differing}"
        )
