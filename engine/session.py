"""The steps of the work on a case, as the window and the command line both run them."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from engine.case import Case
from engine.errors import InputError
from engine.fallback import with_enough_memory
from engine.memory import give_back
from engine.progress import Command, Job, Progress
from engine.registration import Certificate, Registration, Step
from engine.rigid_motion import RigidMotion
from engine.roi import Box
from engine.runtime import Runtime
from engine.shapes import HuArray, Matrix
from engine.volume import PADDING_HU

if TYPE_CHECKING:
    import torch

WAYS = ("field", "network")
SCOPES = ("crop", "image")
ALIGN_METHODS = ("rigid", "none", "manual")
FITS = {"closer": 1 / 3, "balanced": 1.0, "smoother": 3.0}
"""How much smoother than usual a refinement is to be: times λ, or the roughness budget divided by it."""

DEFAULT_MODEL = "general"


@dataclass(frozen=True, slots=True)
class AlignSettings:
    """`method`: `rigid` by image content, `none`, `manual`, or the path of a transform file whose linear part is taken.

    `motion`: for `manual`, how the moving image is moved, as `RigidMotion` has it: shifts in mm, then turns in degrees.
    """

    method: str = "rigid"
    motion: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if (self.method == "manual") != (self.motion is not None):
            raise InputError("Expected six numbers with an alignment by hand, and none with any other.")


@dataclass(frozen=True, slots=True)
class GeneralSettings:
    """`model`: a row of the models table, or `NAME=FILE.safetensors`."""

    model: str = DEFAULT_MODEL


@dataclass(frozen=True, slots=True)
class IsoSettings:
    """Image-specific optimisation. `fit`: a row of `FITS`. `weight`: λ of the roughness, or none for the usual."""

    iterations: int = 100
    by: str = "field"
    similarity: str = "auto"
    weight: float | None = None
    fit: str = "balanced"

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, slots=True)
class RsoSettings:
    """Region-specific optimisation of one box. `scope`: `crop`, or `image` as in the paper."""

    box: Box
    iterations: int = 400
    by: str = "field"
    scope: str = "crop"
    similarity: str = "auto"
    weight: float | None = None
    fit: str = "balanced"

    def __post_init__(self) -> None:
        _check(self)
        if self.scope not in SCOPES:
            raise InputError(f"Expected a scope among {', '.join(SCOPES)}, got {self.scope!r}.")


@dataclass(frozen=True, slots=True)
class RevertSettings:
    """One box back to the displacement of the state number `to` of the case; box and collar as in RSO."""

    box: Box
    to: int


Settings = AlignSettings | GeneralSettings | IsoSettings | RsoSettings | RevertSettings

SIMILARITIES = ("auto", "mse", "lncc", "mind", "robust-mind")


def _check(settings: IsoSettings | RsoSettings) -> None:
    if settings.iterations < 1:
        raise InputError(f"Expected at least one iteration, got {settings.iterations}.")
    for value, allowed, what in (
        (settings.by, WAYS, "refinement by"),
        (settings.similarity, SIMILARITIES, "a similarity among"),
        (settings.fit, tuple(FITS), "a fit among"),
    ):
        if value not in allowed:
            raise InputError(f"Expected {what} {', '.join(allowed)}; got {value!r}.")
    if settings.weight is not None and not 0 <= settings.weight < math.inf:
        raise InputError(f"Expected a smoothness weight of zero or more, got {settings.weight}.")
    if settings.weight is not None and settings.fit != "balanced":
        raise InputError("Expected a fit or a weight of the roughness, not both; the weight replaces the fit.")


@dataclass(frozen=True, slots=True)
class _Result:
    """What a step changed in the registration, and what only the step itself knows of its figures."""

    changes: dict[str, Any]
    name: str
    iterations: int
    notes: tuple[str, ...] = ()
    box: Box | None = None
    box_rmse_hu_before: float | None = None
    box_rmse_hu_after: float | None = None
    certificate: Certificate | None = None


def run_step(
    case: Case,
    settings: Settings,
    runtime: Runtime | None = None,
    preview: bool = False,
    watched: Box | None = None,
) -> Job[Registration]:
    """Run one step on the case's current state; returns the new registration with the step on record.

    The case itself is not changed: `case.after(result)` is. Reports carry previews only when asked for.
    `watched`: a box whose error is reported beside the image's while the whole image is optimised.

    A GPU whose memory is full leaves the step to the CPU, and the step's notes say so.

    Raises:
        InputError: the settings do not fit the case.
        DeviceError: the device is absent, or the machine has no memory left.
    """
    runtime = runtime or Runtime()
    started = time.monotonic()
    device = runtime.torch_device()
    result, on_the_cpu = yield from with_enough_memory(
        device, lambda device: _job(case, settings, device, preview, watched)
    )
    if on_the_cpu:
        result = replace(result, notes=(*result.notes, "on the CPU, since the GPU's memory was full"))
    seconds = time.monotonic() - started
    yield Progress(result.name, 1, 1, note="measuring")
    return _recorded(case, settings, result, seconds)


def _job(
    case: Case, settings: Settings, device: torch.device, preview: bool, watched: Box | None
) -> Generator[Progress, Command | None, _Result]:
    if isinstance(settings, AlignSettings):
        return (yield from _align(case, settings))
    if isinstance(settings, GeneralSettings):
        return (yield from _general(case, settings, device))
    if isinstance(settings, IsoSettings):
        return (yield from _iso(case, settings, device, preview, watched))
    if isinstance(settings, RevertSettings):
        return (yield from _revert(case, settings, device))
    return (yield from _rso(case, settings, device, preview))


def _align(case: Case, settings: AlignSettings) -> Job[_Result]:
    rigid: Matrix = np.eye(4)
    if settings.method == "rigid":
        from engine.optimize.align import rigid_alignment

        rigid = yield from rigid_alignment(case.fixed, case.moving)
    elif settings.motion is not None:
        rigid = RigidMotion.of_numbers(settings.motion, case.fixed.geometry).rigid()
    elif settings.method != "none":
        from engine.io.transforms import read_transform, rigid_matrix

        rigid = rigid_matrix(read_transform(Path(settings.method)))
    still = Registration.identity(case.fixed.geometry).displacement_vox
    changes = {"rigid": rigid, "displacement_vox": still, "model": None, "weights": None}
    return _Result(changes, "align", 0)


def _general(case: Case, settings: GeneralSettings, device: torch.device) -> Job[_Result]:
    from engine.optimize.general import general_displacement
    from engine.optimize.iso import fold_notes

    rigid = case.current.rigid
    displacement, folded = yield from general_displacement(settings.model, case.fixed, case.moving, rigid, device)
    changes = {"displacement_vox": displacement, "model": settings.model, "weights": None}
    return _Result(changes, "general", 1, fold_notes(folded) + _domain_notes(case, settings.model))


def _iso(case: Case, settings: IsoSettings, device: torch.device, preview: bool, watched: Box | None) -> Job[_Result]:
    from engine.optimize.iso import ImageSettings, Refined, Watched, iso

    whole = Box.whole(case.fixed.geometry.shape_zyx)
    before_hu = _rmse_hu_in(whole, case)
    error_hu = None if watched is None else _rmse_hu_in(watched, case)
    model = _network_of(case)
    similarity = _similarity(case, settings.by, settings.similarity)
    image_settings = ImageSettings(
        settings.iterations,
        settings.by,
        similarity,
        settings.weight,
        model,
        None if watched is None or error_hu is None else Watched(watched, error_hu),
        FITS[settings.fit],
        case.guidance,
    )
    refined = yield from iso(case.fixed, case.moving, case.current, image_settings, device, preview)
    if not refined.error_may_grow and refined.displacement_vox is not case.current.displacement_vox:
        after_hu = _rmse_hu_in(whole, case, replace(case.current, displacement_vox=refined.displacement_vox))
        if before_hu is not None and after_hu is not None and after_hu >= before_hu:
            refined = Refined.nothing_better(case.current, refined.iterations)
    changes: dict[str, Any] = {"displacement_vox": refined.displacement_vox}
    if settings.by == "network":
        changes |= {"model": model, "weights": refined.weights}
    notes = refined.notes + _domain_notes(case, model, settings.by) + _guidance_notes(case, changes)
    return _Result(changes, "iso", refined.iterations, notes)


def _rmse_hu_in(box: Box, case: Case, registration: Registration | None = None) -> float | None:
    """Over the voxels of a box that both scanners saw, if there are any; of the current state if no other is given."""
    from engine.metrics import rmse_hu
    from engine.optimize.guide import compared

    part = box.checked(case.fixed.geometry.shape_zyx).slices_zyx
    warped = warped_hu(case, registration)[part]
    seen = compared(case.fixed, case.guidance).valid[part] & (warped > PADDING_HU)
    return rmse_hu(case.fixed.hu[part], warped, seen) if seen.any() else None


def _rso(case: Case, settings: RsoSettings, device: torch.device, preview: bool) -> Job[_Result]:
    from engine.optimize.rso import RegionalSettings, rso

    number = 1 + sum(step.name.startswith("rso") for step in case.current.steps)
    regional_settings = RegionalSettings(
        settings.box,
        settings.iterations,
        settings.by,
        settings.scope,
        _similarity(case, settings.by, settings.similarity),
        settings.weight,
        _network_of(case),
        f"rso {number}",
        FITS[settings.fit],
        case.guidance,
    )
    regional = yield from rso(case.fixed, case.moving, case.current, regional_settings, device, preview)
    changes = {"displacement_vox": regional.displacement_vox}
    return _Result(
        changes,
        regional_settings.stage,
        regional.iterations,
        regional.notes
        + _domain_notes(case, regional_settings.model, settings.by)
        + _guidance_notes(case, changes, settings.box),
        settings.box,
        regional.box_rmse_hu_before,
        regional.box_rmse_hu_after,
        regional.certificate,
    )


def _revert(case: Case, settings: RevertSettings, device: torch.device) -> Job[_Result]:
    from engine.optimize.revert import reverted

    earlier = case.state(settings.to)
    yield Progress("revert", 0, 1)
    regional = reverted(case.fixed, case.moving, case.current, earlier, settings.box, case.guidance, device)
    return _Result(
        {"displacement_vox": regional.displacement_vox},
        "revert",
        0,
        (f"as in state {settings.to} ({earlier.steps[-1].name if earlier.steps else 'start'})", *regional.notes),
        settings.box,
        regional.box_rmse_hu_before,
        regional.box_rmse_hu_after,
        regional.certificate,
    )


def _domain_notes(case: Case, model: str, by: str = "network") -> tuple[str, ...]:
    """In what the images are unlike those that the network was trained on; nothing where no network took part."""
    from engine.models import unlike_training

    return unlike_training(model, case.fixed, case.moving) if by == "network" else ()


def _guidance_notes(case: Case, changes: dict[str, Any], box: Box | None = None) -> tuple[str, ...]:
    """What of the guidance was followed, and how far the points are off before and after."""
    from engine.metrics import target_registration_error
    from engine.optimize.guide import points_in

    guidance, notes = case.guidance, []
    if changes["displacement_vox"] is case.current.displacement_vox:
        return () if guidance.is_empty else ("guidance not followed",)
    used = points_in(box, guidance, case.fixed.geometry)
    if used.any():
        fixed_mm, moving_mm = guidance.fixed_points_mm[used], guidance.moving_points_mm[used]
        states = (case.current, replace(case.current, **changes))
        before, after = (target_registration_error(state.map_points(fixed_mm), moving_mm).mean for state in states)
        what = "1 point" if len(fixed_mm) == 1 else f"{len(fixed_mm)} points"
        notes.append(f"{what}: {before:.1f} → {after:.1f} mm off")
    region = slice(None) if box is None else box.slices_zyx
    for mask, what in ((guidance.rigid, "kept rigid"), (guidance.excluded, "excluded")):
        count = 0 if mask is None else int(np.count_nonzero(mask[region]))
        if count:
            notes.append(f"{count} voxels {what}")
    return tuple(notes)


def _network_of(case: Case) -> str:
    """The model whose network a refinement fine-tunes: that of the case, or the default where it has no network.

    The change net(θ) − net(θ₀) starts at zero whatever made the present displacement.
    """
    from engine.models import MODELS

    model = case.current.model or DEFAULT_MODEL
    row = MODELS.get(model.partition("=")[0])
    return model if row is None or row.learned else DEFAULT_MODEL


def _similarity(case: Case, by: str, wanted: str) -> str:
    """Squared differences for a network on two CTs, as in the paper; local correlation otherwise."""
    if wanted != "auto":
        return wanted
    both_ct = case.fixed.modality == case.moving.modality == "CT"
    return "mse" if by == "network" and both_ct else "lncc"


def _recorded(case: Case, settings: Settings, result: _Result, seconds: float) -> Registration:
    history: dict[str, Any] = {"steps": ()} if isinstance(settings, AlignSettings) else {}
    changed = replace(case.current, **history, **result.changes)
    figures = measured(case, changed)
    return changed.after(
        Step(
            name=result.name,
            settings=_plain(settings),
            iterations=result.iterations,
            seconds=seconds,
            rmse_hu=figures.rmse_hu,
            folding_percent=figures.folding_percent,
            min_jacobian=figures.min_jacobian,
            roughness=figures.roughness,
            box=result.box,
            box_rmse_hu_before=result.box_rmse_hu_before,
            box_rmse_hu_after=result.box_rmse_hu_after,
            certificate=result.certificate,
            notes=result.notes,
        )
    )


def _plain(settings: Settings) -> dict[str, Any]:
    """Settings as JSON values, those left open not among them; paths are left out, they may name a patient."""
    values = asdict(settings)
    if isinstance(settings, AlignSettings) and settings.method not in ALIGN_METHODS:
        values["method"] = "file"
    if isinstance(settings, GeneralSettings):
        values["model"] = settings.model.partition("=")[0]
    if isinstance(settings, (RsoSettings, RevertSettings)):
        values["box"] = str(settings.box)
    return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Figures:
    """RMSE in HU over voxels that both scanners saw; folding, determinant and roughness over the patient's body."""

    rmse_hu: float
    folding_percent: float
    min_jacobian: float
    roughness: float


def measured(case: Case, registration: Registration) -> Figures:
    """The figures of a registration."""
    from engine.metrics import field_figures, rmse_hu
    from engine.optimize.guide import compared
    from engine.preprocess import body_of

    give_back()
    warped = warped_hu(case, registration)
    give_back()
    seen = compared(case.fixed, case.guidance).valid & (warped > PADDING_HU)
    field = field_figures(registration.displacement_vox, body_of(case.fixed))
    return Figures(rmse_hu(case.fixed.hu, warped, seen), field.folding_percent, field.min_jacobian, field.roughness)


@dataclass(frozen=True, slots=True, eq=False)
class _Warped:
    """A warped image, and by weak references what it was made of."""

    made_of: tuple[ref[Any], ...]
    image_hu: HuArray


_last_warped: _Warped | None = None
"""One image: what was measured last is what is shown and written next."""


def warped_hu(case: Case, registration: Registration | None = None) -> HuArray:
    """moving(T(x)) in HU on the fixed grid, interpolated once from the moving image; -2048 where nothing was seen.

    `registration`: the case's current one if none is given. Read-only; the image that was made last is kept.
    """
    from engine.spatial.volume_warp import warped_volume

    global _last_warped
    registration = registration or case.current
    parts = (case.moving, registration.displacement_vox, registration.rigid)
    last = _last_warped
    if last is None or any(made() is not part for made, part in zip(last.made_of, parts, strict=True)):
        last = _last_warped = None
        image = warped_volume(case.moving, registration)
        image.flags.writeable = False
        last = _last_warped = _Warped(tuple(ref(part) for part in parts), image)
    return last.image_hu
