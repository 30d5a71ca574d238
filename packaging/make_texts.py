"""Collect the window's texts into the template of translations (`make texts`).

    python packaging/make_texts.py

Texts are the literals in `tr`, `tr_count` and `mark`, and in the rows of the tables named below. A template names the
file of a text and no line, so that it changes only with the texts.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "resources" / "translations" / "regard.pot"
PLACES = {
    "tr": (0,),
    "mark": (0,),
    "tr_count": (0, 1),
    "Row": (2, 4),
    "TourStep": (0,),
    "Overlay": (0, 1),
    "Comparison": (0, 1),
}
"""Where the texts are among what is passed; one and many make one message."""

_HEADER = r"""# Texts of Regard's window. Made by `make texts`; CONTRIBUTING.md says how to translate them.
msgid ""
msgstr ""
"Project-Id-Version: regard\n"
"MIME-Version: 1.0\n"
"Content-Type: text/plain; charset=UTF-8\n"
"Content-Transfer-Encoding: 8bit\n"
"Plural-Forms: nplurals=INTEGER; plural=EXPRESSION;\n"
"""

Message = tuple[str, ...]
"""A text, or the text for one and the text for many."""


def collected() -> dict[Message, list[str]]:
    """Every message with the files that it is in."""
    messages: dict[Message, list[str]] = {}
    for path in sorted((ROOT / "app").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        for message in texts_of(ast.parse(path.read_text(encoding="utf-8")), name):
            files = messages.setdefault(message, [])
            if name not in files:
                files.append(name)
    return messages


def texts_of(tree: ast.AST, name: str) -> Iterator[Message]:
    """The messages of one module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PLACES:
            places = PLACES[node.func.id]
            passed = [node.args[place] for place in places if place < len(node.args)]
            texts = tuple(text for argument in passed if (text := _literal(argument, f"{name}, line {node.lineno}")))
            yield from [texts] if node.func.id == "tr_count" else [(text,) for text in texts]


def _literal(argument: ast.expr, place: str) -> str:
    """A literal; nothing where a table holds the text. What is put together first has no translation."""
    if isinstance(argument, ast.Constant):
        return str(argument.value)
    if isinstance(argument, ast.JoinedStr | ast.BinOp):
        raise SystemExit(f"{place}: expected a literal text; put values into its braces with .format afterwards")
    return ""


def template(messages: dict[Message, list[str]]) -> str:
    """In gettext's format, sorted by text."""
    blocks = [_HEADER]
    for message in sorted(messages):
        form = "#, python-brace-format\n" if "{" in message[0] else ""
        names = ["msgid", "msgid_plural"][: len(message)]
        lines = [f"{name} {_quoted(text)}\n" for name, text in zip(names, message, strict=True)]
        empty = 'msgstr[0] ""\nmsgstr[1] ""\n' if len(message) > 1 else 'msgstr ""\n'
        blocks.append(f"#: {' '.join(messages[message])}\n{form}{''.join(lines)}{empty}")
    return "\n".join(blocks)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def main() -> None:
    messages = collected()
    TEMPLATE.parent.mkdir(parents=True, exist_ok=True)
    TEMPLATE.write_text(template(messages), encoding="utf-8")
    sys.stdout.write(f"{len(messages)} texts in {TEMPLATE.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
