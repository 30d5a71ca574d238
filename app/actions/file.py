"""The menu File: what comes from files and goes into files."""

from __future__ import annotations

from app.actions.conditions import has_case, idle
from app.actions.row import Row


def rows() -> list[Row]:
    return [
        Row("open", "File", "Open images …", "Ctrl+O",
            "Choose the fixed and the moving image", lambda w: w.ask_images(), idle),
        Row("browse", "File", "Open folder …", "Ctrl+Alt+O",
            "Look through a folder of series and choose the fixed and the moving image", lambda w: w.ask_folder()),
        Row("open_case", "File", "Open case …", "Ctrl+Shift+O",
            "Go on with a saved case", lambda w: w.ask_case(), idle),
        Row("demo", "File", "Open demo case", "Ctrl+D",
            "An artificial chest with a known deformation", lambda w: w.commands.open_demo(), idle),
        Row("swap", "File", "Swap fixed and moving", "",
            "Begin again with the roles exchanged", lambda w: w.commands.swap_images(), has_case),
        Row("save", "File", "Save case", "Ctrl+S",
            "Keep the case with its whole history in a folder", lambda w: w.save(), has_case),
        Row("save_as", "File", "Save case as …", "Ctrl+Shift+S",
            "Keep the case in another folder", lambda w: w.ask_save(), has_case),
        Row("load_rigid", "File", "Load rigid mask …", "",
            "A mask on the fixed grid of what keeps its shape, such as bone, each connected piece by itself",
            lambda w: w.ask_mask("rigid"), has_case),
        Row("load_excluded", "File", "Load exclusion mask …", "",
            "A mask on the fixed grid of where nothing corresponds, because tissue came or went",
            lambda w: w.ask_mask("excluded"), has_case),
        Row("forget_masks", "File", "Forget masks from files", "",
            "Drop both masks that were loaded; what regions say stays",
            lambda w: w.commands.forget_masks(), lambda s: has_case(s) and bool(s.masks)),
        Row("load_fixed_contours", "File", "Load contours of fixed …", "",
            "A label image on the grid of the fixed image: whole numbers, one for each structure",
            lambda w: w.ask_structures("fixed"), has_case),
        Row("load_moving_contours", "File", "Load contours of moving …", "",
            "A label image on the grid of the moving image; every step carries its structures onto the fixed one",
            lambda w: w.ask_structures("moving"), has_case),
        Row("forget_contours", "File", "Forget contours", "", "Drop the contours of both images",
            lambda w: w.commands.forget_structures(), lambda s: has_case(s) and not s.case.structures.is_empty),
        Row("export", "File", "Export …", "Ctrl+E",
            "Write the DVF, the transform and the warped image", lambda w: w.ask_export(), has_case),
        Row("quit", "File", "Quit", "Ctrl+Q",
            "Close the window; unsaved work is offered at the next start", lambda w: w.close()),
    ]  # fmt: skip
