from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event, current_thread, main_thread

import pytest

from app.worker import Task, Worker, job_of
from engine.progress import STOP, Command, Progress


@pytest.fixture
def worker(qapp) -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.shut_down()
    worker.deleteLater()


def counting(started: Event, closed: Event, most: int = 1_000_000) -> Generator[Progress, Command | None, str]:
    """Counts until it is stopped; says how it ended."""
    started.set()
    try:
        for number in range(most):
            if (yield Progress("count", number + 1, most)) is STOP:
                return f"stopped after {number + 1 > 0}"
        return "counted"
    finally:
        closed.set()


def nice() -> int:
    """Of the thread that asks."""
    return os.getpriority(os.PRIO_PROCESS, 0)


def endings(task: Task) -> list[str]:
    seen: list[str] = []
    task.succeeded.connect(lambda _: seen.append("succeeded"))
    task.failed.connect(lambda _: seen.append("failed"))
    task.cancelled.connect(lambda: seen.append("cancelled"))
    return seen


def test_success_carries_the_result_and_every_report(qtbot, worker):
    task = worker.submit(lambda: counting(Event(), Event(), 500))
    seen, reports, results = endings(task), [], []
    task.progressed.connect(reports.extend)
    task.succeeded.connect(results.append)
    with qtbot.waitSignal(task.ended):
        pass
    assert seen == ["succeeded"]
    assert results == ["counted"]
    assert [progress.done for progress in reports] == list(range(1, 501))


def test_runtime_error_as_torch_raises_it_is_a_failure(qtbot, worker):
    def out_of_memory() -> None:
        raise RuntimeError("CUDA out of memory")

    task = worker.submit(job_of(out_of_memory))
    seen, errors = endings(task), []
    task.failed.connect(errors.append)
    with qtbot.waitSignal(task.ended):
        pass
    assert seen == ["failed"]
    assert isinstance(errors[0], RuntimeError)


@pytest.mark.parametrize("error", [StopIteration(), GeneratorExit(), SystemExit(1), KeyboardInterrupt()])
def test_no_exception_is_lost(qtbot, worker, error):
    def bad() -> None:
        raise error

    task = worker.submit(job_of(bad))
    seen = endings(task)
    with qtbot.waitSignal(task.ended):
        pass
    assert seen == ["failed"]


def test_cancel_closes_the_job_and_keeps_nothing(qtbot, worker):
    started, closed = Event(), Event()
    task = worker.submit(lambda: counting(started, closed))
    seen = endings(task)
    qtbot.waitUntil(started.is_set)
    with qtbot.waitSignal(task.ended):
        task.cancel()
    assert seen == ["cancelled"]
    assert closed.is_set()


def test_stop_returns_the_best_so_far(qtbot, worker):
    started = Event()
    task = worker.submit(lambda: counting(started, Event()))
    seen = endings(task)
    qtbot.waitUntil(started.is_set)
    with qtbot.waitSignal(task.ended):
        task.stop()
    assert seen == ["succeeded"]


def test_cancel_does_not_reach_the_next_job(qtbot, worker):
    started = Event()
    first = worker.submit(lambda: counting(started, Event()))
    second = worker.submit(lambda: counting(Event(), Event(), 3))
    seen_first, seen_second = endings(first), endings(second)
    qtbot.waitUntil(started.is_set)
    with qtbot.waitSignal(second.ended):
        first.cancel()
    assert (seen_first, seen_second) == (["cancelled"], ["succeeded"])


def test_a_cancelled_task_in_the_queue_never_starts(qtbot, worker):
    started, ran = Event(), Event()
    first = worker.submit(lambda: counting(started, Event()))
    second = worker.submit(job_of(ran.set))
    seen = endings(second)
    qtbot.waitUntil(started.is_set)
    second.cancel()
    with qtbot.waitSignal(second.ended):
        first.cancel()
    assert seen == ["cancelled"]
    assert not ran.is_set()


def test_a_lasting_job_is_finished_when_all_are_cancelled(qtbot, worker):
    started, kept = Event(), Event()
    worker.submit(lambda: counting(started, Event()))
    worker.submit(job_of(kept.set), lasting=True)
    qtbot.waitUntil(started.is_set)
    with qtbot.waitSignal(worker.idle):
        worker.cancel_all()
    assert kept.is_set()


def test_jobs_run_on_the_worker_and_signals_arrive_on_the_gui_thread(qtbot, worker):
    threads = []
    task = worker.submit(job_of(lambda: threads.append(current_thread())))
    task.succeeded.connect(lambda _: threads.append(current_thread()))
    with qtbot.waitSignal(task.ended):
        pass
    assert threads[0] is not main_thread()
    assert threads[1] is main_thread()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the priority is Qt's business")
def test_the_worker_and_what_it_starts_give_way_to_the_window(qtbot, worker):
    """Threads of a library are begun by the thread that computes."""
    with ThreadPoolExecutor(1) as pool:
        both = job_of(lambda: [nice(), pool.submit(nice).result()])
        with qtbot.waitSignal(worker.submit(both).succeeded) as done:
            pass
    assert done.args[0] == [min(nice() + 7, 19)] * 2


def test_memory_is_given_back_when_nothing_waits(qtbot, worker, monkeypatch):
    given, gate = [], Event()
    monkeypatch.setattr("app.worker.give_back", lambda: given.append(worker.busy))
    tasks = [worker.submit(job_of(gate.wait)) for _ in range(3)]
    with qtbot.waitSignals([task.ended for task in tasks]):
        gate.set()
    qtbot.waitUntil(lambda: len(given) > 0)
    assert len(given) == 1


def test_idle_follows_the_last_task(qtbot, worker):
    with qtbot.waitSignal(worker.idle):
        worker.submit(job_of(int))
        worker.submit(job_of(int))
        assert worker.busy
    assert not worker.busy
