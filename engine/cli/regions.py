"""`regard regions`: where to look next in a case, as boxes for `regard register --box`."""

from __future__ import annotations

import argparse
import json

from engine.cli.inputs import named, opened_case, runtime_of
from engine.cli.steps import with_bar
from engine.error_map import Proposal, proposed_boxes
from engine.io.atomic import whole_file


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    case = named("CASE", lambda: opened_case(arguments.case))
    job = proposed_boxes(case, runtime_of(arguments), arguments.count, arguments.size)
    proposals = with_bar(job).proposals
    for proposal in proposals:
        print(f"{proposal.box}  about {proposal.score:.1f} mm  {proposal.reason}")
    if not proposals:
        print("no region to propose: both images show the patient nowhere at once")
    if arguments.out:
        with whole_file(arguments.out) as temporary:
            text = json.dumps({"regions": [_plain(proposal) for proposal in proposals]}, indent=2)
            temporary.write_text(text + "\n", encoding="utf-8")


def _plain(proposal: Proposal) -> dict[str, str | float | bool]:
    return {
        "box": str(proposal.box),
        "expected_error_mm": round(proposal.score, 2),
        "has_structure": proposal.has_structure,
        "reason": proposal.reason,
    }
