"""Conversations."""

import json
from collections.abc import Callable

from tests.data.popular.words import SYSTEM, Row, about, ask, follow, say, shared, think, turns, wrong

TOOL = {
    "name": "count_doors",
    "description": "Counts the doors of a house",
    "parameters": {"type": "object", "properties": {"street": {"type": "integer"}}, "required": ["street"]},
}
RATED = (
    "intent",
    "knowledge",
    "difficulty",
    "input_quality",
    "quality_explanation",
    "task_category",
    "instruct_reward",
)


def tool_text() -> str:
    return json.dumps([TOOL])


def call_text(row: int) -> str:
    return json.dumps({"name": "count_doors", "arguments": {"street": row}})


CHATS: dict[str, Callable[[int], Row]] = {
    "HuggingFaceH4/ultrachat_200k": lambda n: {
        "prompt": ask(n),
        "prompt_id": f"{n:064x}",
        "messages": turns(n, *follow(n)),
    },
    "HuggingFaceH4/no_robots": lambda n: {
        "prompt": ask(n),
        "prompt_id": f"{n:064x}",
        "messages": turns(n, *follow(n), system=n == 1),
        "category": "Open QA",
    },
    "GAIR/lima": lambda n: {"conversations": list(follow(n))[: 2 + 2 * (n % 2)], "source": "wikihow"},
    "OpenAssistant/oasst1": lambda n: {
        "message_id": f"id-{n}",
        "parent_id": None if n % 2 == 0 else f"id-{n - 1}",
        "user_id": f"user-{n}",
        "created_date": "2023-02-05T14:23:50.983374+00:00",
        "text": say(n) if n % 2 else ask(n),
        "role": "assistant" if n % 2 else "prompter",
        "lang": "en",
        "review_count": 3,
        "review_result": True,
        "deleted": False,
        "rank": None if n % 2 == 0 else n // 2,
        "synthetic": False,
        "model_name": None,
        "detoxify": {"toxicity": 0.1, "insult": 0.2},
        "message_tree_id": f"id-{n // 2 * 2}",
        "tree_state": "ready_for_export",
        "emojis": {"name": ["+1"], "count": [2]},
        "labels": {"name": ["spam", "quality"], "value": [0.0, 0.9], "count": [3, 3]},
    },
    "timdettmers/openassistant-guanaco": lambda n: {"text": f"### Human: {ask(n)}### Assistant: {say(n)}"},
    "anon8231489123/ShareGPT_Vicuna_unfiltered": lambda n: {
        "id": f"QWJhYvA_{n}",
        "conversations": shared(n, *follow(n)),
    },
    "WizardLMTeam/WizardLM_evol_instruct_V2_196k": lambda n: {"idx": f"v2-{n}", "conversations": shared(n)},
    "teknium/OpenHermes-2.5": lambda n: {
        "custom_instruction": None,
        "topic": None,
        "model_name": None,
        "model": None,
        "skip_prompt_formatting": False,
        "category": "orca" if n == 1 else None,
        "conversations": shared(n, system=n == 1),
        "views": None,
        "language": None,
        "id": None,
        "title": None,
        "idx": None,
        "hash": None,
        "avatarUrl": None,
        "system_prompt": None,
        "source": "airoboros2.2",
    },
    "LDJnr/Capybara": lambda n: {
        "source": "Dove",
        "conversation": [{"input": ask(n), "output": say(n)}, {"input": follow(n)[2], "output": follow(n)[3]}],
    },
    "trl-lib/Capybara": lambda n: {"source": "Dove", "messages": turns(n, *follow(n)), "num_turns": 4},
    "HuggingFaceTB/smoltalk": lambda n: {"messages": turns(n, system=True), "source": "smol-magpie-ultra"},
    "HuggingFaceTB/smoltalk2": lambda n: {
        "messages": turns(n, *follow(n)),
        "source": "OpenThoughts3",
        "chat_template_kwargs": {
            "custom_instructions": SYSTEM,
            "enable_thinking": n % 2 == 0,
            "python_tools": [],
            "xml_tools": [json.dumps(TOOL)],
        },
    },
    "allenai/tulu-3-sft-mixture": lambda n: {"id": f"flan_{n}", "messages": turns(n), "source": "ai2-adapt-dev/flan"},
    "Magpie-Align/Magpie-Pro-300K-Filtered": lambda n: {
        "uuid": f"0-{n}",
        "model": "a model",
        "gen_input_configs": {"temperature": 1.0, "top_p": 1.0, "input_generator": "x"},
        "instruction": ask(n),
        "response": say(n),
        "conversations": shared(n),
        "task_category": "Information seeking",
        "other_task_category": ["Planning"],
        "task_category_generator": "a model",
        "difficulty": "easy",
        "intent": f"The user wants to learn about house {n}.",
        "knowledge": "One must know the houses.",
        "difficulty_generator": "a model",
        "input_quality": "good",
        "quality_explanation": "It is clear and specific.",
        "quality_generator": "a model",
        "llama_guard_2": "safe",
        "reward_model": "a model",
        "instruct_reward": 1.5,
        "min_neighbor_distance": 0.2,
        "repeat_count": 0,
        "min_similar_uuid": None,
        "instruction_length": 12,
        "response_length": 12,
        "language": "EN",
    },
    "allenai/WildChat-1M": lambda n: {
        "conversation_hash": f"{n:032x}",
        "model": "a-model",
        "timestamp": "2023-04-09T00:02:53",
        "conversation": [
            turn
            | {
                "language": "English",
                "redacted": False,
                "toxic": False,
                "country": "France",
                "state": None,
                "hashed_ip": "ab12" if turn["role"] == "user" else None,
                "turn_identifier": 1000 + n,
                "header": {"accept-language": "en", "user-agent": "Mozilla"} if turn["role"] == "user" else None,
                "timestamp": None,
            }
            for turn in turns(n)
        ],
        "turn": 1,
        "language": "English",
        "openai_moderation": [{"categories": {"hate": False}, "flagged": False}],
        "detoxify_moderation": [{"toxicity": 0.1}],
        "toxic": False,
        "redacted": False,
        "state": None,
        "country": "France",
        "hashed_ip": "ab12",
        "header": {"accept-language": "en", "user-agent": "Mozilla"},
    },
    "lmsys/lmsys-chat-1m": lambda n: {
        "conversation_id": f"{n:032x}",
        "model": "a-model",
        "conversation": turns(n, *follow(n)),
        "turn": 2,
        "language": "English",
        "openai_moderation": [{"categories": {"hate": False}, "flagged": False}],
        "redacted": False,
    },
    "Open-Orca/SlimOrca": lambda n: {
        "conversations": [
            turn | {"weight": float(n) if turn["from"] == "gpt" else None} for turn in shared(n, system=True)
        ]
    },
    "open-thoughts/OpenThoughts-114k": lambda n: {
        "system": SYSTEM,
        "conversations": [
            {"from": "user", "value": ask(n)},
            {"from": "assistant", "value": f"<think>{think(n)}</think>{say(n)}"},
        ],
    },
    "open-thoughts/OpenThoughts3-1.2M": lambda n: {
        "difficulty": 7.0,
        "source": "stackexchange",
        "domain": "code",
        "conversations": shared(n),
    },
    "nvidia/Llama-Nemotron-Post-Training-Dataset": lambda n: {
        "input": turns(n)[:1],
        "output": f"<think>{think(n)}</think>{say(n)}",
        "category": "math",
        "license": "cc-by-4.0",
        "reasoning": "on",
        "generator": "a model",
        "used_in_training": "Ultra",
        "version": "v1",
        "system_prompt": SYSTEM,
    },
    "nvidia/Nemotron-Post-Training-Dataset-v1": lambda n: {
        "uuid": f"u-{n}",
        "license": "cc-by-4.0",
        "generator": "a model",
        "version": "v1",
        "category": "chat",
        "reasoning": "on",
        "messages": [turn | {"tool_calls": []} for turn in turns(n, system=True)],
        "metadata": json.dumps({"n": n}),
    },
    "a-m-team/AM-DeepSeek-R1-Distilled-1.4M": lambda n: {
        "messages": [
            {
                "role": "user",
                "content": ask(n),
                "info": {
                    "answer_content": None,
                    "reference_answer": str(n),
                    "source": "x",
                    "test_case": None,
                    "think_content": None,
                },
            },
            {
                "role": "assistant",
                "content": f"<think>{think(n)}</think><answer>{say(n)}</answer>",
                "info": {
                    "answer_content": say(n),
                    "reference_answer": None,
                    "source": "x",
                    "test_case": None,
                    "think_content": think(n),
                },
            },
        ]
    },
    "glaiveai/glaive-function-calling-v2": lambda n: {
        "system": f"SYSTEM: You are a helpful assistant with access to the following functions. Use them if required -\n{json.dumps(TOOL, indent=4)}",
        "chat": f'USER: {ask(n)}\n\n\nASSISTANT: <functioncall> {{"name": "count_doors", "arguments": \'{{"street": {n}}}\'}} <|endoftext|>'
        f'\n\n\nFUNCTION RESPONSE: {{"doors": {n + 2}}}\n\n\nASSISTANT: {say(n)} <|endoftext|>\n\n\n',
    },
    "Salesforce/xlam-function-calling-60k": lambda n: {
        "id": n,
        "query": ask(n),
        "answers": json.dumps([{"name": "count_doors", "arguments": {"street": n}}]),
        "tools": tool_text(),
    },
    "NousResearch/hermes-function-calling-v1": lambda n: {
        "id": f"id-{n}",
        "tools": json.dumps([{"type": "function", "function": TOOL}]),
        "category": "Town",
        "subcategory": "Doors",
        "task": "Count doors",
        "conversations": [
            {"from": "system", "value": f"You may call functions. <tools>{tool_text()}</tools>"},
            {"from": "human", "value": ask(n)},
            {"from": "gpt", "value": f"<tool_call>\n{call_text(n)}\n</tool_call>"},
            {"from": "tool", "value": f"<tool_response>{n + 2}</tool_response>"},
            {"from": "gpt", "value": say(n)},
        ],
    },
    "Salesforce/APIGen-MT-5k": lambda n: {
        "system": SYSTEM,
        "tools": tool_text(),
        "conversations": [
            {"from": "human", "value": ask(n)},
            {"from": "function_call", "value": call_text(n)},
            {"from": "observation", "value": json.dumps({"doors": n + 2})},
            {"from": "gpt", "value": say(n)},
        ],
    },
    "Team-ACE/ToolACE": lambda n: {
        "system": f"You are an expert in composing functions. Here is a list of functions: {tool_text()}",
        "conversations": [
            {"from": "user", "value": ask(n)},
            {"from": "assistant", "value": f"[count_doors(street={n})]"},
            {"from": "tool", "value": json.dumps([{"doors": n + 2}])},
            {"from": "assistant", "value": say(n)},
        ],
    },
    "interstellarninja/hermes_reasoning_tool_use": lambda n: {
        "conversations": shared(n, system=True),
        "tools": json.dumps([{"type": "function", "function": TOOL}]),
        "task": f"Count the doors of house {n}.",
        "category": "Town",
        "source": "x",
        "scenario_category": "single",
    },
    "llamafactory/glaive_toolcall_en": lambda n: {
        "conversations": [
            {"from": "human", "value": ask(n)},
            {"from": "function_call", "value": call_text(n)},
            {"from": "observation", "value": json.dumps({"doors": n + 2})},
            {"from": "gpt", "value": say(n)},
        ],
        "tools": tool_text(),
    },
    "mlabonne/FineTome-100k": lambda n: {"conversations": shared(n), "source": "infini-instruct", "score": 5.2},
    "stingning/ultrachat": lambda n: {"id": str(n), "data": list(follow(n))},
    "HuggingFaceH4/ultrafeedback_binarized (train_sft)": lambda n: {
        "prompt": ask(n),
        "prompt_id": f"{n:064x}",
        "chosen": turns(n),
        "rejected": turns(n, ask(n), wrong(n)),
        "messages": turns(n),
        "score_chosen": 8.0,
        "score_rejected": 4.5,
    },
    "philschmid/dolly-15k-oai-style": lambda n: {"messages": turns(n)},
    "roleplay with personas": lambda n: {
        "persona": f"A keeper of house {n}.",
        "conversations": shared(n),
        "system": about(n),
    },
}
