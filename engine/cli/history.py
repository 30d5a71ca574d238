"""`regard history`: the states of a case, as a tree of numbers, with the figures of each."""

from __future__ import annotations

import argparse

from engine.case import Case
from engine.cli.inputs import named, opened_case
from engine.cli.steps import step_line


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    print("\n".join(history_lines(named("CASE", lambda: opened_case(arguments.case)))))


def history_lines(case: Case) -> list[str]:
    """One line a state: a star at the current one, its number, the state it began from, and its step."""
    lines = []
    for number, (state, parent) in enumerate(zip(case.states, case.parents, strict=True)):
        sign = "*" if number == case.cursor else " "
        origin = "" if number == 0 else f"from {parent}"
        figures = step_line(state.steps[-1]) if state.steps else "start"
        lines.append(f"{sign} {number:>2}  {origin:<8} {figures}")
    return lines
