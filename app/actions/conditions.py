"""When an action can be done: tests of the store that rows share."""

from __future__ import annotations

from app.store import Store
from app.viewer.planes import is_oblique


def always(_store: Store) -> bool:
    return True


def idle(store: Store) -> bool:
    return not store.running and store.draft is None


def has_case(store: Store) -> bool:
    return store.case is not None and idle(store)


def has_draft(store: Store) -> bool:
    return store.draft is not None and not store.running


def has_pictures(store: Store) -> bool:
    return store.pictures is not None


def has_oblique_grid(store: Store) -> bool:
    return store.pictures is not None and is_oblique(store.pictures.geometry)


def has_box(store: Store) -> bool:
    return store.selected is not None and not store.running


def has_free_box(store: Store) -> bool:
    return has_box(store) and not store.selected_box.locked


def has_region(store: Store) -> bool:
    return has_case(store) and store.selected_box is not None and store.selected_box.use == "optimise"


def can_plan(store: Store) -> bool:
    """Whether a step can begin, or wait for the one that runs."""
    return store.case is not None and store.draft is None and (not store.running or store.run.leads_on)


def can_plan_region(store: Store) -> bool:
    return can_plan(store) and store.selected_box is not None and store.selected_box.use == "optimise"


def has_other_state(store: Store) -> bool:
    return has_case(store) and store.marked_state not in (None, store.case.cursor)


def has_other_branch(store: Store) -> bool:
    return has_case(store) and store.marked_state is not None and store.marked_state not in store.case.line()


def has_pair(store: Store) -> bool:
    return has_case(store) and store.selected_pair is not None


def can_stop(store: Store) -> bool:
    return store.running and store.run.is_step and store.run.state == "running"


def can_cancel(store: Store) -> bool:
    return has_draft(store) or (store.running and store.run.state != "cancelling")
