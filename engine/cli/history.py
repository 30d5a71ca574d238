"""`regard history`: the states of a case, as a tree of numbers, with the figures of each; a branch of them can go."""

from __future__ import annotations

import argparse

from engine.case import Case
from engine.cli.inputs import home_of, named, opened_case
from engine.cli.steps import step_line
from engine.io.case_folder import save_case


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    case = named("CASE", lambda: opened_case(arguments.case))
    if arguments.delete is not None:
        case = named("--delete", lambda: case.without_branch(arguments.delete))
        save_case(case, home_of(arguments.case))
    print("\n".join(history_lines(case)))


def history_lines(case: Case) -> list[str]:
    """One line a state: a star at the current one, its number, the state it began from, and its step."""
    lines = []
    for number in case.numbers:
        state, parent = case.states[number], case.parents[number]
        sign = "*" if number == case.cursor else " "
        origin = "" if number == 0 else f"from {parent}"
        figures = step_line(state.steps[-1]) if state.steps else "start"
        lines.append(f"{sign} {number:>2}  {origin:<8} {figures}")
    return lines
