"""Running steps with a progress bar and a line of figures each."""

from __future__ import annotations

import sys
from typing import TypeVar

from tqdm import tqdm

from engine.case import Case
from engine.progress import Job, Progress, finish
from engine.registration import Step
from engine.runtime import Runtime
from engine.session import Settings, run_step

T = TypeVar("T")


def with_bar(job: Job[T]) -> T:
    """Run a job; a bar on standard error if that is a terminal."""
    with tqdm(disable=not sys.stderr.isatty(), leave=False, file=sys.stderr) as bar:

        def show(progress: Progress) -> None:
            bar.set_description(progress.stage, refresh=False)
            bar.total = progress.total
            bar.n = progress.done
            error_hu = progress.box_rmse_hu if progress.box_rmse_hu is not None else progress.rmse_hu
            bar.set_postfix_str(progress.note if error_hu is None else f"{error_hu:.0f} HU", refresh=False)
            bar.refresh()

        return finish(job, show)


def run_and_tell(case: Case, settings: Settings, runtime: Runtime) -> Case:
    """The case after one more step, which is told in one line."""
    after = case.after(with_bar(run_step(case, settings, runtime)))
    print(step_line(after.current.steps[-1]), flush=True)
    return after


def step_line(step: Step) -> str:
    """A step's figures for people."""
    parts = [
        f"{step.name:<8}",
        f"RMSE {step.rmse_hu:6.1f} HU",
        f"folding {step.folding_percent:.3f} %",
        f"min Jacobian {step.min_jacobian:6.2f}",
        f"{step.seconds:6.1f} s",
    ]
    if step.box_rmse_hu_before is not None and step.box_rmse_hu_after is not None:
        parts.append(f"box {step.box_rmse_hu_before:.1f} → {step.box_rmse_hu_after:.1f} HU")
    if step.certificate is not None:
        parts.append("certificate passed" if step.certificate.passed else "CERTIFICATE FAILED")
    return "  ".join([*parts, *step.notes])
