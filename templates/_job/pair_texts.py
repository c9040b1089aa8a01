"""Pairs as texts, for trainers that read no conversations from the rows of this job."""

from typing import Any

PAIR_COLUMNS = ("prompt", "chosen", "rejected")


def pair_texts(rows: Any, processing: Any) -> Any:
    """Return a data set of pairs as texts, rendered by the model's chat template where they are conversations.

    TRL's older trainers render into the columns that they read from, and these keep the type of a conversation.
    """
    if rows is None or isinstance(rows[0]["prompt"], str):
        return rows
    from datasets import Features, Value
    from trl import apply_chat_template  # pyright: ignore[reportPrivateImportUsage]  (trl names them lazily)

    def render(row: dict[str, Any]) -> dict[str, str]:
        pair = {name: row[name] for name in PAIR_COLUMNS}
        return apply_chat_template(pair, processing, row.get("tools"), **(row.get("chat_template_kwargs") or {}))

    texts = Features({name: Value("string") for name in PAIR_COLUMNS})
    return rows.map(render, remove_columns=rows.column_names, features=texts)
