"""Prompts to be answered and rewarded."""

import json
from collections.abc import Callable

from tests.data.popular.words import SYSTEM, Row, ask, say, think, turns

PROMPTS: dict[str, Callable[[int], Row]] = {
    "allenai/RLVR-GSM": lambda n: {"messages": turns(n)[:1], "ground_truth": str(n + 2), "dataset": "gsm8k"},
    "allenai/RLVR-IFeval": lambda n: {
        "messages": turns(n)[:1],
        "ground_truth": json.dumps({"func_name": "verify", "N": n}),
        "dataset": "ifeval",
        "constraint_type": "Keyword Frequency",
        "constraint": f"Use the word door {n} times.",
    },
    "trl-lib/ultrafeedback-prompt": lambda n: {"prompt": turns(n)[:1]},
    "trl-lib/DeepMath-103K": lambda n: {"prompt": turns(n)[:1], "solution": f"${n + 2}$"},
    "AI-MO/NuminaMath-TIR for GRPO": lambda n: {
        "prompt": turns(n, system=True)[:2],
        "solution": say(n),
        "problem": ask(n),
    },
    "BytedTsinghua-SIA/DAPO-Math-17k": lambda n: {
        "data_source": "math_dapo",
        "prompt": turns(n)[:1],
        "ability": "MATH",
        "reward_model": {"ground_truth": str(n + 2), "style": "rule-lighteval/MATH_v2"},
        "extra_info": {"index": f"{n}"},
    },
    "open-r1/DAPO-Math-17k-Processed": lambda n: {
        "prompt": ask(n),
        "solution": str(n + 2),
        "data_source": "math_dapo",
        "source_prompt": turns(n)[:1],
        "ability": "MATH",
        "reward_model": {"ground_truth": str(n + 2), "style": "rule"},
        "extra_info": {"index": f"{n}"},
    },
    "PRIME-RL/Eurus-2-RL-Data": lambda n: {
        "data_source": "numina",
        "prompt": turns(n, system=True)[:2],
        "ability": "math",
        "reward_model": {"ground_truth": str(n + 2), "style": "rule"},
        "extra_info": {"index": n, "split": "train"},
    },
    "agentica-org/DeepScaleR-Preview-Dataset": lambda n: {"problem": ask(n), "answer": str(n + 2), "solution": say(n)},
    "Jiayi-Pan/Countdown-Tasks-3to4": lambda n: {"target": n + 20, "nums": [n, 3, 7]},
    "open-r1/verifiable-coding-problems-python": lambda n: {
        "source": "codeforces",
        "task_type": "verifiable_code",
        "in_source_id": str(n),
        "prompt": ask(n),
        "gold_standard_solution": f"print({n})",
        "verification_info": {
            "language": "python",
            "test_cases": [{"input": "1", "output": "3", "type": "stdin_stdout"}],
        },
        "metadata": json.dumps({}),
        "problem_id": f"vcb_{n}",
    },
    "SynthLabsAI/Big-Math-RL-Verified": lambda n: {
        "problem": ask(n),
        "answer": str(n + 2),
        "source": "orca_math",
        "domain": ["Mathematics -> Algebra"],
        "llama8b_solve_rate": 0.5,
    },
    "nvidia/HelpSteer prompts": lambda n: {"system": SYSTEM, "prompt": ask(n)},
    "PrimeIntellect/SYNTHETIC-1": lambda n: {
        "response_id": f"r{n}",
        "problem_id": f"p{n}",
        "task_type": "verifiable_math",
        "score": 1,
        "prompt": ask(n),
        "llm_response": say(n),
        "gold_standard_solution": think(n),
        "verification_info": json.dumps({"ground_truth": str(n)}),
        "metadata": "{}",
        "source": "x",
    },
}
