from __future__ import annotations

import pytest

from engine import progress
from engine.progress import STOP, Job, PreviewClock, Progress, finish, to_its_end


def _counting(log: list[str]) -> Job[int]:
    done = 0
    try:
        while done < 3:
            done += 1
            if (yield Progress("iso", done, 3)) is STOP:
                break
    finally:
        log.append("cleaned up")
    return done


def test_finish_runs_to_the_end_and_passes_every_report_on() -> None:
    reports: list[Progress] = []

    assert finish(_counting([]), reports.append) == 3
    assert [report.done for report in reports] == [1, 2, 3]


def test_finish_hands_errors_on() -> None:
    def failing() -> Job[int]:
        yield Progress("iso", 0, 1)
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        finish(failing())


def test_a_job_that_is_to_end_passes_stop_over_and_can_still_be_cancelled() -> None:
    log: list[str] = []
    deaf, cancelled = to_its_end(_counting(log)), to_its_end(_counting(log))
    next(deaf)
    next(cancelled)

    assert deaf.send(STOP).done == 2
    assert finish(deaf) == 3
    cancelled.close()

    assert log == ["cleaned up", "cleaned up"]


def test_stop_ends_a_job_with_a_result_and_close_without() -> None:
    log: list[str] = []
    stopped, cancelled = _counting(log), _counting(log)
    next(stopped)
    next(cancelled)

    with pytest.raises(StopIteration) as end:
        stopped.send(STOP)
    cancelled.close()

    assert end.value.value == 1
    assert log == ["cleaned up", "cleaned up"]


def test_previews_are_due_so_many_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """At four a second, at least 0.25 s lie between two; none is due at once."""
    now_s = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now_s[0])
    clock = PreviewClock(per_second=4.0)

    due = []
    for now_s[0] in (100.0, 100.24, 100.25, 100.4, 100.5, 103.0, 103.1):
        due.append(clock.due())

    assert due == [False, False, True, False, True, True, False]
