"""How long one slice takes in a large series: `QT_QPA_PLATFORM=offscreen python tests/benchmarks/scroll_slices.py`.

    [--layout compare|sheet] [--shape Z Y X] [--size W H] [--overlays NAME ...] [--busy] [--oblique] [--limit MS]
    [--frames N]

Random volumes; from the change of the view to the painted panes. `--busy`: while the worker optimises a phantom.
`--oblique`: a grid turned by 20 degrees, in slices along the patient's axes.
`--memory`: instead, what the process takes of the machine's memory while the worker refines the pair that is shown.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in the program, which sets it before numpy is loaded

import numpy as np
from numpy.typing import NDArray
from PySide6.QtWidgets import QApplication

import engine
from app import autosave, theme
from app.commands import Commands
from app.store import Store
from app.viewer.contours import Labels
from app.viewer.grid import Grid
from app.viewer.overlays import OVERLAYS
from app.viewer.pictures import Pictures
from app.viewer.planes import Plane, stepped
from app.viewer.view_state import LAYOUTS, PLANES
from app.worker import Worker
from engine.case import Case
from engine.geometry import Geometry
from engine.progress import finish
from engine.shared_arrays import in_file
from engine.structures import Structures
from engine.volume import Volume

SPACING_XYZ_MM = (0.98, 0.98, 2.0)
_ENDLESS = 1_000_000
ORGANS = 6
ITERATIONS = 20
MIB = 2**20


def frame_times_ms(
    store: Store, grid: Grid, application: QApplication, plane: Plane, frames: int
) -> NDArray[np.float64]:
    """(frames, 2) from a change of slice to the painted panes, for a scroll through the slices of a plane.

    By the clock on the wall, which other programs slow down, and by that of the thread.
    """
    first = stepped(store.view, plane, -10_000)
    store.set_view(stepped(first, plane, plane.shape_zyx[plane.normal] // 5))
    grid.refresh()
    application.processEvents()
    times = []
    for _ in range(frames):
        start = np.array([time.perf_counter(), time.thread_time()])
        store.set_view(stepped(store.view, plane, 1))
        grid.refresh()
        application.processEvents()
        times.append((np.array([time.perf_counter(), time.thread_time()]) - start) * 1000)
    return np.array(times)


def random_pictures(shape_zyx: tuple[int, int, int], turned_deg: float = 0.0) -> Pictures:
    """Noise, a corner outside the scan, a body in the middle, and a smooth motion of up to a centimetre."""
    rng = np.random.default_rng(0)
    fixed, moving, warped = (rng.normal(0, 300, shape_zyx).astype(np.float32) for _ in range(3))
    valid, body = np.ones(shape_zyx, dtype=bool), np.zeros(shape_zyx, dtype=bool)
    valid[:, :60, :60] = False
    _, y, x = shape_zyx
    body[:, y // 6 : -y // 6, x // 8 : -x // 8] = True
    displacement = np.zeros((3, *shape_zyx), dtype=np.float32)
    displacement[:] = (6 * np.sin(np.linspace(0, 6, x))).astype(np.float32)
    displacement = in_file(displacement.shape, displacement.copy)
    displacement.max()
    c, s = np.cos(np.radians(turned_deg)), np.sin(np.radians(turned_deg))
    geometry = Geometry(shape_zyx, SPACING_XYZ_MM, direction=((1.0, 0.0, 0.0), (0.0, c, -s), (0.0, s, c)))
    rigid, own, other = np.eye(4), organs(shape_zyx, 0), organs(shape_zyx, 5)
    labels = Labels(
        own,
        engine.CarriedLabels(other, geometry, geometry, rigid),
        engine.CarriedLabels(other, geometry, geometry, rigid, displacement),
        tuple(range(1, ORGANS + 1)),
    )
    return Pictures(geometry, fixed, valid, moving, warped, displacement, body=body, labels=labels, version=1)


def organs(shape_zyx: tuple[int, int, int], aside: int) -> NDArray[np.uint8]:
    """Ellipsoids in a row across the body, numbered from 1, some voxels aside."""
    labels = np.zeros(shape_zyx, np.uint8)
    depth, rows, columns = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape_zyx)
    for number in range(ORGANS):
        middle = -0.6 + 1.2 * number / (ORGANS - 1) + 2 * aside / shape_zyx[2]
        flat = (rows[:, None] / 0.45) ** 2 + ((columns - middle) / 0.14) ** 2
        for slab, along in zip(labels, depth, strict=True):
            slab[flat + (along / 0.7) ** 2 < 1] = number + 1
    return labels


def measure_memory(shape_zyx: tuple[int, int, int], with_window: bool, application: QApplication) -> None:
    """Tell the memory of each phase in MiB that lies in no file, beside one copy of the two volumes.

    Pages of files, of saved displacements and of libraries, the system takes back when it wants them.
    Without a window: the same optimisation, which tells apart what the engine and its libraries take.
    """
    import torch  # noqa: F401  its libraries count as such

    with resident() as seen:
        tell_memory("libraries", seen.latest())
        case = large_case(shape_zyx)
        copy_mib = (case.fixed.hu.nbytes + case.moving.hu.nbytes) / MIB
        print(f"one copy of the two volumes {copy_mib:.0f} MiB")
        tell_memory("pair, with masks and contours", seen.latest())
        if not with_window:
            finish(engine.run_step(case, engine.IsoSettings(iterations=ITERATIONS), preview=True))
            tell_memory("optimisation alone, at most", seen.peak())
            return
        store, worker = Store(), Worker()
        commands, grid = Commands(store, worker), Grid(store)
        commands.failed.connect(lambda error: print(f"failed: {error}"))
        grid.resize(1060, 640)
        grid.show()
        store.set_opened(case, None)
        del case
        store.change_view(layout="sheet", overlays=frozenset(("invalid", "arrows", "contours")))
        wait_idle(worker, application)
        tell_memory("twelve panes", seen.latest())
        store.set_settings(replace(store.settings, iso_iterations=ITERATIONS))
        seen.peak()
        commands.iso()
        wait_idle(worker, application)
        tell_memory("twelve panes during the optimisation, at most", seen.peak())
        tell_memory("after it", seen.latest())
        commands.iso()
        wait_idle(worker, application)
        tell_memory("twelve panes during a second one, at most", seen.peak())
        tell_memory("after it", seen.latest())
        worker.shut_down()


def large_case(shape_zyx: tuple[int, int, int]) -> Case:
    """A brick of tissue in air and the same one voxel aside, with stripes, so that nothing takes memory to make."""
    volumes = []
    for aside in (0, 1):
        hu = np.full(shape_zyx, -1000, dtype=np.float32)
        body = hu[tuple(slice(n // 5 + aside, 4 * n // 5 + aside) for n in shape_zyx)]
        body[:] = 40
        body[:, ::16] += 150
        body[:, :, ::24] -= 100
        volumes.append(Volume(hu, Geometry(shape_zyx, SPACING_XYZ_MM), np.ones(shape_zyx, dtype=bool)))
    return Case.new(*volumes).delineated(Structures(organs(shape_zyx, 0), organs(shape_zyx, 1)))


@dataclass(slots=True)
class Resident:
    """The resident memory of this process in MiB, without what lies in files."""

    most: float = 0.0

    def latest(self) -> float:
        gc.collect()
        return resident_mib()

    def peak(self) -> float:
        """The most since the last time that this was asked."""
        most, self.most = self.most, 0.0
        return most


@contextmanager
def resident() -> Iterator[Resident]:
    """Looks every few milliseconds."""
    seen, done = Resident(), Event()

    def look() -> None:
        while not done.wait(0.005):
            seen.most = max(seen.most, resident_mib())

    thread = Thread(target=look)
    thread.start()
    yield seen
    done.set()
    thread.join()


def resident_mib() -> float:
    _, pages, in_files, *_ = map(int, Path("/proc/self/statm").read_text().split())
    return (pages - in_files) * os.sysconf("SC_PAGE_SIZE") / MIB


def tell_memory(phase: str, taken_mib: float) -> None:
    print(f"{phase:46s} {taken_mib:7.0f} MiB")


def wait_idle(worker: Worker, application: QApplication) -> None:
    """Until nothing is computed and everything is painted."""
    while worker.busy:
        application.processEvents()
        time.sleep(0.01)
    application.processEvents()


@contextmanager
def optimising(busy: bool) -> Iterator[None]:
    """The worker refines a phantom meanwhile."""
    if not busy:
        yield
        return
    from engine.phantom.thorax import thorax_pair

    pair = thorax_pair(size_xyz=(112, 112, 84), spacing_xyz_mm=(3.2, 3.2, 4.0))
    case, worker = Case.new(pair.fixed, pair.moving), Worker()
    task = worker.submit(lambda: engine.run_step(case, engine.IsoSettings(iterations=_ENDLESS), preview=True))
    begun: list[object] = []
    task.progressed.connect(begun.append)
    while len(begun) < 3:
        QApplication.processEvents()
    yield
    worker.shut_down()


def main() -> int:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", choices=tuple(LAYOUTS), default="compare")
    parser.add_argument("--shape", type=int, nargs=3, default=(141, 512, 512), metavar=("Z", "Y", "X"))
    parser.add_argument("--size", type=int, nargs=2, default=(1060, 700), metavar=("W", "H"), help="of the panes")
    parser.add_argument("--overlays", nargs="*", choices=tuple(OVERLAYS), default=["invalid"])
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--oblique", action="store_true")
    parser.add_argument("--memory", choices=("window", "engine"), help="of the window, or of the optimisation alone")
    parser.add_argument("--limit", type=float, default=16.0, help="of the median, ms")
    parser.add_argument("--frames", type=int, default=100)
    arguments = parser.parse_args()
    application = QApplication([])
    theme.apply_theme(application, "dark")
    if arguments.memory:
        with tempfile.TemporaryDirectory() as scratch:
            autosave.user_data_path = lambda *_, **__: Path(scratch)
            measure_memory(tuple(arguments.shape), arguments.memory == "window", application)
        return 0
    store = Store()
    grid = Grid(store)
    grid.resize(*arguments.size)
    grid.show()
    store.set_pictures(random_pictures(tuple(arguments.shape), 20.0 if arguments.oblique else 0.0))
    store.change_view(along_patient=arguments.oblique, layout=arguments.layout, overlays=frozenset(arguments.overlays))
    medians = []
    with optimising(arguments.busy):
        for plane in PLANES:
            store.change_view(plane=plane)
            grid.refresh()
            shown = next(pane.state.plane for pane in grid.panes if pane.state.plane.name == plane)
            times = frame_times_ms(store, grid, application, shown, arguments.frames)
            (wall_ms, thread_ms), (wall_tail_ms, thread_tail_ms) = np.percentile(times, (50, 95), axis=0)
            medians.append(float(wall_ms))
            print(
                f"{plane:9s} median {wall_ms:5.1f} ms (thread {thread_ms:5.1f})   "
                f"95th percentile {wall_tail_ms:5.1f} ms (thread {thread_tail_ms:5.1f})"
            )
    return int(max(medians) > arguments.limit)


if __name__ == "__main__":
    sys.exit(main())
