"""Names of trainer arguments that mean something else here: renamed, removed, or owned by the server."""

# entries of trainer_args that stand for many others
PRESET = "preset"
CONFIG = "config"

# name -> (today's name, why it is the same); source: transformers 5.15 and TRL 1.0 release notes, measured
RENAMED = {
    "max_seq_length": "max_length",
    "evaluation_strategy": "eval_strategy",
    "warmup_ratio": "warmup_steps",
    "no_cuda": "use_cpu",
    "lora_r": "r",
    "lora_target_modules": "target_modules",
    "lora_modules_to_save": "modules_to_save",
    "lora_target_parameters": "target_parameters",
    "teacher_model": "teacher_model_name_or_path",
}

# arguments of the tool that trainers know by another name
TOOL_ARGUMENTS = {
    "num_train_epochs": "epochs",
    "learning_rate": "learning_rate",
    "max_length": "max_length",
    "model_name_or_path": "model",
    "dataset_name": "dataset",
    "dataset_train_split": "dataset_split",
}

# name -> what replaced it; refused, since no argument has the same meaning
REMOVED = {
    "overwrite_output_dir": "Every job has its own output folder. Leave it out.",
    "logging_dir": "Logs are read with job_logs. Leave it out.",
    "group_by_length": 'Use train_sampling_strategy="group_by_length".',
    "save_safetensors": "Models are always saved as safetensors. Leave it out.",
    "include_tokens_per_second": "Use include_num_input_tokens_seen.",
    "torch_dtype": "Use bf16, fp16 or neither; weights are loaded to match.",
    "dtype": "Use bf16, fp16 or neither; weights are loaded to match.",
    "tokenizer": "The model's own tokenizer is used. chat_template_path names another chat template.",
    "max_prompt_length": "Use max_length, which limits prompt and answer together.",
    "dataset_batch_size": "Rows are read in a stream. Leave it out.",
    "num_of_sequences": "Use packing and max_length.",
    "use_peft": 'Use the argument tuning: "lora", "qlora" or "full".',
    "load_in_4bit": 'Use the argument tuning: "qlora".',
    "load_in_8bit": 'Use the argument tuning: "qlora", which keeps weights in 4 bits.',
    "reward_funcs": "Use the argument rewards.",
    "rpo_alpha": 'Use loss_type=["sigmoid", "sft"] and loss_weights=[1.0, <alpha>].',
}

_BATCH = "It follows from the argument batch_size. Leave it out."
_LENGTH = "Use epochs, or max_steps in trainer_args."
_REWARDS = "Use the argument rewards."
_SAVED = "The finished model is saved where the result's output_path says; it is not pushed."

# name -> the argument to use instead; the server sets these itself
OWNED = {
    "output_dir": _SAVED,
    "push_to_hub": _SAVED,
    "hub_model_id": _SAVED,
    "hub_private_repo": _SAVED,
    "hub_strategy": _SAVED,
    "hub_token": "Tokens are never arguments. The server hands its own to the job.",
    "hub_always_push": _SAVED,
    "hub_revision": _SAVED,
    "resume_from_checkpoint": "Use start_job with the id of the job to continue.",
    "trust_remote_code": "Code from model repositories is never run. Use a model that transformers supports itself.",
    "do_train": "submit_training trains. Leave it out.",
    "do_eval": "Use eval_split.",
    "do_predict": "Use eval_split.",
    "local_rank": "The launcher sets it. Leave it out.",
    "deepspeed": "Use strategy: zero1, zero2 or zero3.",
    "fsdp": "Use strategy: fsdp2 or fsdp1.",
    "fsdp_config": "Use strategy: fsdp2 or fsdp1.",
    "parallelism_config": "Use strategy, which says how GPUs share a training.",
    "accelerator_config": "The script sets Accelerate up itself. Leave it out.",
    "dataset_text_field": 'Use columns=["text=<your column>"].',
    "trackio_space_id": "Metrics go to your namespace's own Space, <namespace>/trackio. Leave it out; project names a project in it.",
    "trackio_bucket_id": "The Space keeps its metrics in a bucket of its own. Leave it out.",
    "trackio_static_space_id": "No second, static Space is made. Leave it out.",
    "peft_type": "The argument tuning decides it.",
    "task_type": "The method decides it.",
    "auto_mapping": "The method decides it.",
    "peft_version": "The script's header decides it.",
    "base_model_name_or_path": "Use the argument model.",
    "revision": 'Use the argument model: "id@revision".',
    "reward_model_path": _REWARDS,
    "reward_model_name_or_path": _REWARDS,
    "reward_weights": 'Use the argument rewards: ["<name>:0.2"] weighs.',
    "sft_model_path": "Use the argument model.",
    "teacher_model_revision": 'Use teacher_model: "id@revision".',
    "log_completions_hub_repo": "Samples are in job_status. Leave it out.",
    "generate_during_eval": "Samples are in job_status. Leave it out.",
    "num_sample_generations": "Samples are in job_status. Leave it out.",
    "is_encoder_decoder": "The model decides it; sequence-to-sequence models cannot be trained.",
    "batch_size": "Use the argument batch_size.",
    "micro_batch_size": _BATCH,
    "local_batch_size": _BATCH,
    "mini_batch_size": _BATCH,
    "local_mini_batch_size": _BATCH,
    "num_total_batches": _LENGTH,
    "total_episodes": _LENGTH,
    "world_size": "The launcher sets it. Leave it out.",
    "model_adapter_name": "The script decides it. Leave it out.",
    "ref_adapter_name": "The script decides it. Leave it out.",
    "inference_mode": "Adapters are trained. Leave it out.",
    "runtime_config": "The script decides it. Leave it out.",
}

# options of `accelerate launch` that are no fields of a trainer; source: accelerate 1.15.0
LAUNCHER = frozenset(
    {"compute_environment", "config_file", "cpu", "distributed_type", "downcast_bf16", "enable_cpu_affinity", "env"}
    | {"gpu_ids", "gradient_clipping", "log_dir", "machine_rank", "main_training_function", "max_restarts"}
    | {"mixed_precision", "module", "monitor_interval", "mpirun_hostfile", "multi_gpu", "no_python", "no_tpu_cluster"}
    | {"num_cpu_threads_per_process", "num_machines", "num_processes", "quiet", "role", "same_network", "tee", "tpu"}
    | {"use_deepspeed", "use_fsdp", "use_megatron_lm", "use_parallelism_config", "vm", "zero_stage"}
)
LAUNCHER_PREFIXES = (
    "aws_",
    "deepspeed_",
    "dynamo_",
    "fp8_",
    "fsdp_",
    "main_process_",
    "megatron_lm_",
    "offload_optimizer_",
    "offload_param_",
    "parallelism_config_",
    "rdzv_",
    "tpu_",
    "zero3_",
)

# arguments that a job that is to be continued may still change: none of them alters what has been learned so far
CONTINUABLE = frozenset(
    {
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "per_device_eval_batch_size",
        "num_train_epochs",
        "max_steps",
        "lr_scheduler_type",
        "lr_scheduler_kwargs",
        "save_steps",
        "save_strategy",
        "save_total_limit",
        "logging_steps",
        "logging_strategy",
        "logging_first_step",
        "gradient_checkpointing",
        "activation_checkpointing",
        "torch_empty_cache_steps",
    }
)
