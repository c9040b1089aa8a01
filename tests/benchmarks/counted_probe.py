"""Runs in a training environment: TRL's own trainers, with every byte of their tensors counted.

Arguments: a file of cases (see counted.py), which it goes through one by one, printing a line of JSON for each: the bytes
at the peak of a step, and what of them are weights, gradients and states of the optimizer.

Nothing large is computed. All operations run as the trainer asks for them, but those on large tensors only allocate what
they would return, memory that is never touched: so models of billions of parameters are counted on a laptop. What a GPU
would do otherwise than a CPU is arranged for: kernels written in Triton allocate nothing, and under autocast functions
that CUDA computes in float32 are so here (torch/csrc/autocast_mode.h). Not counted are work spaces inside of kernels.
"""

import gc
import importlib
import json
import math
import sys
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

torch: Any = importlib.import_module("torch")
Dispatch: Any = importlib.import_module("torch.utils._python_dispatch").TorchDispatchMode
tree: Any = importlib.import_module("torch.utils._pytree")

#: What autocast computes in float32 on CUDA and leaves as it is on a CPU.
_WIDE = ("layer_norm", "softmax", "log_softmax", "cross_entropy", "kl_div", "pow", "sum", "exp", "cumsum", "logsumexp")
#: Numbers from which on a tensor is only allocated.
_LARGE = 8192
_FILLING = {torch.ops.aten.zeros.default, torch.ops.aten.ones.default, torch.ops.aten.full.default}
_STEPS = 2
_TOKEN = 5


class Hollow(Dispatch):
    """Lets operations on large tensors allocate only, and follows every storage until it is freed."""

    def __init__(self, large: int) -> None:
        Dispatch.__init__(self)
        self._large = large
        self.bytes = self.peak = 0
        self._sizes: dict[int, int] = {}
        self._shapes: dict[Any, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = self._run(func, args, kwargs or {})
        for value in tree.tree_leaves(found):
            if isinstance(value, torch.Tensor):
                self._add(value.untyped_storage())
        return found

    def _add(self, storage: Any) -> None:
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        weakref.finalize(storage, self._free, key)
        self.bytes += self._sizes[key]
        self.peak = max(self.peak, self.bytes)

    def _free(self, key: int) -> None:
        self.bytes -= self._sizes.pop(key)

    def _run(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an operation; one that reads or fills large tensors only for the shapes of what it returns."""
        leaves = tree.tree_leaves((args, kwargs))
        schema = func._schema
        if not any(map(self._is_large, leaves)):
            return self._made(func, args, kwargs)
        if func.is_view or func is torch.ops.aten.index.Tensor:
            return func(*args, **kwargs)
        if schema.is_mutable:
            return kwargs["out"] if "out" in kwargs else args[0] if schema.returns else None
        if func is torch.ops.aten.multinomial.default:
            return torch.full((args[0].shape[0], args[1]), _TOKEN)
        key = (func, *map(_kind, leaves))
        if key not in self._shapes:
            on_meta = _on_meta(kwargs) | ({"device": "meta"} if "device" in kwargs else {})
            self._shapes[key] = func(*_on_meta(args), **on_meta)
        return tree.tree_map(self._allocated, self._shapes[key])

    def _is_large(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor) and value.is_floating_point() and value.numel() >= self._large

    def _made(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an operation without large inputs. What it makes out of nothing may be large."""
        if func in _FILLING:
            dtype = kwargs.get("dtype") or torch.get_default_dtype()
            if dtype.is_floating_point and math.prod(args[0]) >= self._large:
                return torch.empty(args[0], dtype=dtype)
        return func(*args, **kwargs)

    def _allocated(self, shape: Any) -> Any:
        if not isinstance(shape, torch.Tensor):
            return shape
        if shape.dtype != torch.int64 and shape.numel() >= self._large:
            return torch.empty_strided(shape.shape, shape.stride(), dtype=shape.dtype)
        if shape.dtype == torch.int64 and shape.dim():
            return torch.arange(shape.numel()).view(shape.shape) % max(1, shape.shape[-1])
        return torch.zeros(shape.shape, dtype=shape.dtype)


def _kind(value: Any) -> Any:
    return (value.shape, value.stride(), value.dtype) if isinstance(value, torch.Tensor) else (type(value), value)


def _on_meta(values: Any) -> Any:
    def moved(value: Any) -> Any:
        return value.to("meta") if isinstance(value, torch.Tensor) else value

    return tree.tree_map(moved, values)


def use_cuda_types() -> None:
    """Widen what CUDA's autocast widens, and keep the mask of a dropout as CUDA does, a byte for each number."""
    functional: Any = torch.nn.functional
    for place in (functional, torch, torch.Tensor):
        for name in _WIDE:
            if hasattr(place, name):
                setattr(place, name, _wide(getattr(place, name)))
    functional.dropout = _dropout


def _wide(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        if torch.is_autocast_enabled("cpu"):
            args = tuple(_widened(value) for value in args)
            kwargs = {name: _widened(value) for name, value in kwargs.items()}
        return function(*args, **kwargs)

    return run


def _dropout(value: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    return torch.native_dropout(value, p, True)[0] if training and p else value


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16 else value


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


def _yes(*args: Any) -> bool:
    return True


def _same(function: Any) -> Any:
    return function


def _pieces(whole: int, piece: int) -> int:
    return -(-whole // piece)


class Kernel:
    """A kernel that can be started and allocates nothing."""

    def __getitem__(self, grid: object) -> Callable[..., None]:
        return _nothing


def use_kernels() -> None:
    """Let TRL take the ways it takes on a GPU."""
    utils: Any = importlib.import_module("trl.trainer.utils")
    triton: Any = ModuleType("triton")
    language: Any = ModuleType("triton.language")
    triton.jit, triton.cdiv, triton.language, language.constexpr = _same, _pieces, language, int
    sys.modules["triton"], sys.modules["triton.language"] = triton, language
    entropy: Any = importlib.import_module("trl.kernels.logprob_entropy")
    del sys.modules["triton"], sys.modules["triton.language"]
    utils._fused_logprob_entropy = entropy.selective_log_softmax_and_entropy
    utils.is_triton_available = utils._supports_trl_loss_kernel = _yes
    chunked: Any = importlib.import_module("trl.kernels.chunked_logprob")
    divergence: Any = importlib.import_module("trl.kernels.chunked_divergence")
    distillation: Any = importlib.import_module("trl.trainer.distillation_trainer")
    for module in (entropy, chunked, divergence):
        module.triton = triton
        module._addmm_fp32 = module._project = _nothing
        for name in ("_forward_kernel", "_backward_kernel", "_stats_kernel", "_jsd_kernel"):
            setattr(module, name, Kernel())
    for module in (utils, chunked, divergence, distillation):
        module._use_triton = _yes


def use_shapes() -> None:
    """Let models be made from their config alone instead of being read."""
    models: Any = importlib.import_module("transformers").PreTrainedModel

    def from_pretrained(cls: Any, name: str, **loading: Any) -> Any:
        config = loading.pop("config", None) or cls.config_class.from_pretrained(name)
        if loading.get("num_labels"):
            config.num_labels = loading["num_labels"]
        told = {key: loading[key] for key in ("dtype", "attn_implementation") if loading.get(key)}
        model = cls._from_config(config, **told)
        model.name_or_path = config._name_or_path = name
        return model.eval()

    models.from_pretrained = classmethod(from_pretrained)


def make_model(architecture: dict[str, Any], folder: Path) -> str:
    """Write what names a model: its config and its tokenizer; return their folder."""
    place = folder / architecture["name"]
    if not place.exists():
        transformers = importlib.import_module("transformers")
        config = transformers.AutoConfig.for_model(**architecture["config"])
        kind = transformers.MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
        config.architectures = [kind.__name__]
        config.save_pretrained(place)
        tokenizer_of(min(5000, config.vocab_size)).save_pretrained(place)
    return str(place)


def tokenizer_of(size: int) -> Any:
    """Return a tokenizer of one token for each word w4, w5, ..."""
    tokenizers = importlib.import_module("tokenizers")
    vocabulary = {"<pad>": 0, "<eos>": 1, "<unk>": 2, "<bos>": 3} | {f"w{place}": place for place in range(4, size)}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    fast = importlib.import_module("transformers").PreTrainedTokenizerFast
    found = fast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    found.chat_template = (
        "{% for m in messages %}w4 {{ m['content'] }} {% if m['role'] == 'assistant' %}<eos>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}w4 {% endif %}"
    )
    return found


def words(count: int, start: int) -> str:
    return " ".join(f"w{4 + (start * 37 + place * 11) % 900}" for place in range(count))


def make_rows(case: dict[str, Any]) -> list[dict[str, Any]]:
    """Return rows of two lengths next to each other, the longer as asked with its last token."""
    method, length = case["method"], case["length"]
    asked = case.get("prompt") or length // 4
    found: list[dict[str, Any]] = []
    for place in range(case["batch"] * case["accumulation"] * _STEPS * 2):
        full = length - 1 - 4 * (place % 2)
        prompt, answer = words(asked, place), words(full - asked, place + 1)
        other = words(full - asked - 2, place + 2)
        if method == "sft":
            found.append({"text": words(full, place)})
        elif method == "kto":
            found.append({"prompt": prompt, "completion": f" {answer}", "label": place % 2 == 0})
        elif method == "gkd":
            turns = [{"role": "user", "content": words(asked - 2, place)}, {"role": "assistant", "content": answer}]
            found.append({"messages": turns})
        elif method in {"grpo", "rloo", "online_dpo", "distillation"}:
            found.append({"prompt": words(asked, place)})
        else:
            found.append({"prompt": prompt, "chosen": f" {answer}", "rejected": f" {other}"})
    return found


def _config(case: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "per_device_train_batch_size": case["batch"],
        "gradient_accumulation_steps": case["accumulation"],
        "max_steps": _STEPS,
        "use_cpu": True,
        "bf16": True,
        "gradient_checkpointing": case["checkpointing"],
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "optim": case["optimizer"],
        "model_init_kwargs": {"dtype": case["dtype"], "attn_implementation": case["attention"], "device_map": None},
        "seed": 0,
    }
    answer = case["length"] - case["prompt"] if case.get("prompt") else case["length"] - case["length"] // 4
    own: dict[str, dict[str, Any]] = {
        "sft": {"max_length": case["length"]},
        "gkd": {"max_length": case["length"], "max_new_tokens": answer, "lmbda": 1.0},
        "grpo": {"max_completion_length": answer, "num_generations": case["batch"], "beta": 0.0},
        "rloo": {"max_completion_length": answer, "num_generations": case["batch"]},
        "distillation": {"max_completion_length": answer},
        "online_dpo": {"max_new_tokens": answer, "max_length": case["length"]},
    }
    return fields | own.get(case["method"], {"max_length": case["length"]}) | case.get("config", {})


_TRAINERS = {
    "sft": ("trl", "SFT"),
    "dpo": ("trl", "DPO"),
    "kto": ("trl", "KTO"),
    "reward": ("trl", "Reward"),
    "grpo": ("trl", "GRPO"),
    "rloo": ("trl", "RLOO"),
    "distillation": ("trl", "Distillation"),
    "orpo": ("trl.experimental.orpo", "ORPO"),
    "cpo": ("trl.experimental.cpo", "CPO"),
    "online_dpo": ("trl.experimental.online_dpo", "OnlineDPO"),
    "gkd": ("trl.experimental.gkd", "GKD"),
}


def _rewards(completions: list[str], **others: Any) -> list[float]:
    return [float(len(text) % 7) for text in completions]


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def make_trainer(case: dict[str, Any], model: str, folder: str) -> Any:
    """Return TRL's trainer for a case."""
    module, name = _TRAINERS[case["method"]]
    trl = importlib.import_module(module)
    rows = importlib.import_module("datasets").Dataset.from_list(make_rows(case))
    fields = _config(case)
    more: dict[str, Any] = {}
    if case["method"] in {"grpo", "rloo", "online_dpo"}:
        more["reward_funcs"] = _rewards
    transformers = importlib.import_module("transformers")
    if case["method"] in {"gkd", "distillation"}:
        loading = fields["model_init_kwargs"]
        more["teacher_model"] = transformers.AutoModelForCausalLM.from_pretrained(model, **loading).eval()
    if case["method"] == "online_dpo":
        more["data_collator"] = _columns
    if case["tuning"] == "lora":
        peft = importlib.import_module("peft")
        more["peft_config"] = peft.LoraConfig(
            r=case["lora_r"], lora_dropout=case["dropout"], target_modules="all-linear", task_type=_task(case)
        )
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(model)  # the family's own would split otherwise
    config = getattr(trl, f"{name}Config")(output_dir=folder, **fields)
    return getattr(trl, f"{name}Trainer")(
        model=model, args=config, train_dataset=rows, processing_class=tokenizer, **more
    )


def _task(case: dict[str, Any]) -> str:
    return "SEQ_CLS" if case["method"] == "reward" else "CAUSAL_LM"


def count(case: dict[str, Any], models: Path) -> dict[str, Any]:
    """Train a few steps and return the bytes counted."""
    model = make_model(case["architecture"], models)
    hollow = Hollow(case.get("large", _LARGE))
    with tempfile.TemporaryDirectory() as folder, hollow:
        trainer = make_trainer(case, model, folder)
        gc.collect()
        held = hollow.peak = hollow.bytes
        trainer.train()
        trained = [tensor for tensor in trainer.model.parameters() if tensor.requires_grad]
        states = [value for one in trainer.optimizer.state.values() for value in one.values() if torch.is_tensor(value)]
        return {
            "peak": hollow.peak,
            "weights": held,
            "trained": sum(tensor.numel() for tensor in trained),
            "gradients": sum(tensor.nbytes for tensor in trained),
            "optimizer": sum(tensor.nbytes for tensor in states),
            "parameters": sum(tensor.numel() for tensor in trainer.model.parameters()),
        }


def main() -> None:
    """Count every case."""
    importlib.import_module("warnings").simplefilter("ignore")
    use_kernels()
    use_shapes()
    use_cuda_types()
    with tempfile.TemporaryDirectory() as models:
        for case in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
            print("COUNTED", json.dumps({"id": case["id"], **count(case, Path(models))}), flush=True)
            gc.collect()


if __name__ == "__main__":
    main()
