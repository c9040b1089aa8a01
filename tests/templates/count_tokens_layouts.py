"""Rows as data sets have them, for each method in every layout that it reads, with turns, tools and odd spaces."""

import json
from typing import Any

Row = dict[str, Any]
TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "adds",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer", "description": "first"}}},
    },
}
EXCHANGES = [
    ("What is one and two?", "The answer is three.", "No."),
    ("Wie spät ist es?", " Fünf nach zwölf 你好 \n\nand \U0001f600 seven", "yes yes yes"),
    ("print(1)\n" * 6, "1\n1", "no " * 20),
    (" a ", "b " * 25, "b"),
    ("long " * 40, "short", "short too"),
]
EARLIER = ("one two three?", "yes")
PROMPT_METHODS = ("grpo", "rloo", "distillation", "online_dpo", "ppo")
PAIR_METHODS = ("dpo", "orpo", "cpo", "reward")


def turn(role: str, text: str | None) -> Row:
    return {"role": role, "content": text}


def prompt_turns(number: int) -> list[Row]:
    """Return the turns before an answer; some rows have earlier ones, some a system turn."""
    earlier = [turn("user", EARLIER[0]), turn("assistant", EARLIER[1])] if number % 2 else []
    system = [turn("system", "Be short.")] if number % 3 == 0 else []
    return [*system, *earlier, turn("user", EXCHANGES[number][0])]


def whole_turns(number: int, side: int = 1) -> list[Row]:
    return [*prompt_turns(number), turn("assistant", EXCHANGES[number][side])]


def from_value(turns: list[Row]) -> list[Row]:
    """Return turns as ShareGPT writes them."""
    names = {"user": "human", "assistant": "gpt", "system": "system"}
    return [{"from": names[each["role"]], "value": each["content"]} for each in turns]


def transcript(number: int, side: int = 1) -> str:
    question = EXCHANGES[number][0].strip()
    earlier = f"\n\nHuman: {EARLIER[0]}\n\nAssistant: {EARLIER[1]}" if number % 2 else ""
    return f"{earlier}\n\nHuman: {question}\n\nAssistant: {EXCHANGES[number][side].strip()}"


def called_turns() -> list[Row]:
    """Return turns in which a tool is called."""
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    said = {"role": "assistant", "content": "", "tool_calls": [call]}
    return [turn("user", "Add."), said, {"role": "tool", "name": "add", "content": "2"}]


def with_tools(row: Row, number: int) -> Row:
    """Return a row with tools, in some rows as text, and with arguments of its own for the chat template."""
    tools: Any = json.dumps([TOOL]) if number % 2 else [TOOL]
    return row | {"tools": tools, "chat_template_kwargs": {"enable_thinking": bool(number % 2)}}


def talks(number: int, question: str, answer: str) -> dict[str, Row]:
    """Return the layouts that hold a question with its answer."""
    thought = f"<think>\nThree {number}?\n</think>\n\n{answer}"
    return {
        "messages": {"messages": whole_turns(number)},
        "turns": {"prompt": prompt_turns(number), "completion": [turn("assistant", answer)]},
        "strings": {"prompt": question, "completion": answer},
        "sharegpt": {"conversations": from_value(whole_turns(number)), "system": "Be kind."},
        "alpaca": {"instruction": question, "input": "one two" if number % 2 else "", "output": answer},
        "question answer": {"question": question, "answer": answer},
        "json": {"messages": json.dumps(whole_turns(number))},
        "transcript": {"text": transcript(number)},
        "tools": with_tools({"messages": [*called_turns(), turn("assistant", answer)]}, number),
        "thinking": {"messages": [*whole_turns(number)[:-1], turn("assistant", thought)]},
    }


def pairs(number: int, question: str, chosen: str, rejected: str) -> dict[str, Row]:
    """Return the layouts that hold two answers."""
    better, worse = turn("assistant", chosen), turn("assistant", rejected)
    return {
        "strings": {"prompt": question, "chosen": chosen, "rejected": rejected},
        "turns": {"prompt": prompt_turns(number), "chosen": [better], "rejected": [worse]},
        "conversations": {"chosen": whole_turns(number), "rejected": whole_turns(number, 2)},
        "beside a text": {"prompt": question, "chosen": whole_turns(number), "rejected": whole_turns(number, 2)},
        "from value": {
            "conversations": from_value(prompt_turns(number)),
            "chosen": {"from": "gpt", "value": chosen},
            "rejected": {"from": "gpt", "value": rejected},
        },
        "transcript": {"chosen": transcript(number), "rejected": transcript(number, 2)},
        "tools": with_tools({"prompt": called_turns(), "chosen": [better], "rejected": [worse]}, number),
    }


def row(method: str, number: int) -> dict[str, Row]:
    """Return a row of each layout of a method."""
    question, chosen, rejected = EXCHANGES[number]
    spoken, paired = talks(number, question, chosen), pairs(number, question, chosen, rejected)
    if method == "sft":
        return spoken | {"text": {"text": question + chosen}}
    if method == "gkd":
        return spoken
    if method == "kto":
        label = {"label": number % 2 == 0}
        judged = {name: spoken[name] | label for name in ("messages", "turns", "strings", "tools", "sharegpt")}
        return judged | {f"paired {name}": paired[name] for name in ("strings", "turns", "conversations", "tools")}
    if method == "reward":
        bare = {"chosen": question + chosen, "rejected": question + rejected}
        return paired | {"bare": bare, "margin": paired["turns"] | {"margin": 0.5}}
    if method in PAIR_METHODS:
        return paired
    if method == "prm":
        steps = {"prompt": question, "completions": [chosen, rejected], "labels": [True, False]}
        solved = f"{question.strip()} Step 1: {{}} {{}}\nStep 2: {{}} {{}}"
        marked = {
            "input": solved.format(chosen.strip(), "ки", rejected, "ки"),
            "label": solved.format(chosen.strip(), "+", rejected, "-"),
        }
        return {"steps": steps, "marked": marked}
    names = ("messages", "strings", "question answer", "sharegpt", "tools")
    prompts = {"prompt": {"prompt": question, "level": number}, "prompt turns": {"prompt": prompt_turns(number)}}
    called = {"prompt tools": with_tools({"prompt": called_turns()}, number)}
    return prompts | called | {name: spoken[name] for name in names}


def layouts_of(method: str) -> dict[str, list[Row]]:
    """Return for each layout of a method its rows; one of them cannot be used, for a text is missing."""
    rows = [row(method, number) for number in range(len(EXCHANGES))]
    return {layout: [*(each[layout] for each in rows), emptied(rows[0][layout])] for layout in rows[0]}


def emptied(row: Row) -> Row:
    """Return a row whose last text column or turn is empty."""
    name = next(
        name for name in ("rejected", "completion", "output", "answer", "text", "messages", *row) if name in row
    )
    return row | {name: None}
