"""The menu Run: the steps of the registration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.actions.conditions import (
    can_cancel,
    can_plan,
    can_plan_region,
    can_stop,
    has_case,
    has_draft,
    has_other_state,
    has_region,
)
from app.actions.row import Row

if TYPE_CHECKING:
    from app.main_window import MainWindow


def rows() -> list[Row]:
    return [
        Row("align", "Run", "Align", "Ctrl+1",
            "Find the rigid motion between the two images", lambda w: w.commands.align(), can_plan),
        Row("by_hand", "Run", "Align by hand", "Ctrl+Shift+A",
            "Move and turn the moving image with the mouse, the arrows or by numbers",
            lambda w: w.commands.begin_by_hand(), lambda s: has_case(s) and s.pictures is not None),
        Row("keep_by_hand", "Run", "Keep the alignment by hand", "Ctrl+Return",
            "Make it a step of the case, which undo takes back", _keep_by_hand, has_draft),
        Row("general", "Run", "General model", "Ctrl+2",
            "One pass of the pretrained network", lambda w: w.commands.general(), can_plan),
        Row("model_card", "Run", "About this model …", "Ctrl+I",
            "What the chosen model is for, what it was trained on and how good it was",
            lambda w: w.show_model_card()),
        Row("iso", "Run", "Optimise image (ISO)", "Ctrl+3",
            "Refine the whole image for this patient", lambda w: w.commands.iso(), can_plan),
        Row("up_to_iso", "Run", "Run up to ISO", "Ctrl+Shift+3",
            "Run what is missing of align, general and ISO, one after the other",
            lambda w: w.commands.run_up_to_iso(), has_case),
        Row("rso", "Run", "Optimise region (RSO)", "Ctrl+4",
            "Refine the selected box alone; nothing beyond its margin changes",
            lambda w: w.commands.rso(), can_plan_region),
        Row("rso_all", "Run", "Optimise all regions", "Ctrl+Shift+4",
            "Refine every box that is meant to be optimised, one after the other",
            lambda w: w.commands.rso_all(), lambda s: can_plan(s) and bool(s.boxes_of("optimise"))),
        Row("take_back", "Run", "Take region back to state", "Ctrl+Shift+T",
            "Give the selected box the field of the state marked in the history; nothing beyond its margin changes",
            lambda w: w.commands.take_back(w.store.marked_state), lambda s: has_other_state(s) and has_region(s)),
        Row("compare_image", "Run", "Compare fits of the image", "Ctrl+Shift+I",
            "Optimise the image closer, balanced and smoother, look at the three, and take one or none",
            lambda w: w.commands.compare_image_fits(), has_case),
        Row("compare_region", "Run", "Compare fits of the region", "Ctrl+Shift+R",
            "Optimise the selected box closer, balanced and smoother, look at the three, and take one or none",
            lambda w: w.commands.compare_region_fits(), has_region),
        Row("propose", "Run", "Propose regions", "Ctrl+P",
            "Look for places that probably are still wrong, and draw a box round each with the reason",
            _propose, has_case),
        Row("stop", "Run", "Stop, keep the best", "Ctrl+.",
            "End the step now with the best result so far", lambda w: w.commands.stop(), can_stop),
        Row("go_on", "Run", "Go on with waiting steps", "Ctrl+Shift+.",
            "Begin the steps that still wait",
            lambda w: w.commands.go_on(), lambda s: has_case(s) and bool(s.planned)),
        Row("drop_planned", "Run", "Drop waiting steps", "Ctrl+Shift+Backspace",
            "Forget the steps that wait; the running one goes on",
            lambda w: w.commands.drop_planned(), lambda s: bool(s.planned)),
        Row("cancel", "Run", "Cancel, keep nothing", "Ctrl+Backspace",
            "End the step or the alignment by hand and leave the case as it was",
            lambda w: w.commands.cancel(), can_cancel),
    ]  # fmt: skip


def _keep_by_hand(window: MainWindow) -> None:
    window.workflow.by_hand.commit()
    window.commands.keep_by_hand()


def _propose(window: MainWindow) -> None:
    window.show_list(window.regions)
    window.commands.propose_regions()
