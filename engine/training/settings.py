"""What can be chosen for a training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from engine.errors import InputError
from engine.models import SIZE_MULTIPLE

SUPERVISION = ("field", "similarity", "both")
RULES = ("weighted", "gsmorph", "pcgrad", "agr")
PRECISIONS = ("fp32", "bf16")

_MAY_CHANGE = {"steps", "patience", "workers"}
"""What a run that goes on from its checkpoint may have otherwise than when it was started."""

_SIMILARITY_WEIGHT = 1.0
"""Of the roughness (voxel²) beside a similarity in voxels, where nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """`crop_zyx`: a training crop in voxels of the working grid. `batch`: pairs in a step, of each device.

    `rule`: how fit and roughness come together, a sum with `weight` or gradient surgery. Every `validate_every` steps
    the run is validated, written down and kept. `patience`: validations without a better one that end the run, 0 for
    any number.

    Raises:
        InputError: a setting that cannot be trained with.
    """

    model: str = "general"
    steps: int = 3000
    batch: int = 2
    crop_zyx: tuple[int, int, int] = (64, 64, 80)
    learning_rate: float = 1e-3
    supervision: str = "field"
    rule: str = "weighted"
    weight: float = 0.0
    precision: str = "fp32"
    seed: int = 0
    validate_every: int = 50
    validation_pairs: int = 8
    patience: int = 0
    workers: int = 1
    devices: int = 1

    def __post_init__(self) -> None:
        for name, choices in (("supervision", SUPERVISION), ("rule", RULES), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                raise InputError(f"Expected {name} among {', '.join(choices)}, got {getattr(self, name)!r}.")
        for name in ("steps", "batch", "validate_every", "devices"):
            if getattr(self, name) < 1:
                raise InputError(f"Expected at least 1 for {_words(name)}, got {getattr(self, name)}.")
        for name in ("weight", "validation_pairs", "patience", "workers", "seed"):
            if not getattr(self, name) >= 0:
                raise InputError(f"Expected no negative number for {_words(name)}, got {getattr(self, name)}.")
        if not 0 < self.learning_rate < 1:
            raise InputError(f"Expected a learning rate between 0 and 1, got {self.learning_rate:g}.")
        if any(size % SIZE_MULTIPLE or size < 2 * SIZE_MULTIPLE for size in self.crop_zyx):
            raise InputError(
                f"Expected crops of at least {2 * SIZE_MULTIPLE} voxels along each axis, in multiples of "
                f"{SIZE_MULTIPLE}, got {'×'.join(map(str, self.crop_zyx))}."
            )

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON and for a checkpoint."""
        return asdict(self) | {"crop_zyx": list(self.crop_zyx)}

    def refuse_other(self, started_with: dict[str, object]) -> None:
        """Raise InputError where the run in a checkpoint was started with other settings."""
        for name, value in self.as_dict().items():
            if name not in _MAY_CHANGE and started_with.get(name) != value:
                raise InputError(
                    f"The run in this folder was started with {_words(name)} {started_with.get(name)}, now it is "
                    f"{value}; give what it was started with, or train into a new folder."
                )


def trade_off(supervision: str, rule: str | None, weight: float | None) -> tuple[str, float]:
    """The rule and the weight of the roughness for what was asked for and what was left open.

    A known field is smooth and needs neither. Similarity needs something: gradient surgery, which needs no weight.

    Raises:
        InputError: a weight for a rule that has none.
    """
    if weight is not None and rule not in (None, "weighted"):
        raise InputError(f"Expected no weight with the rule {rule!r}: gradient surgery has none; give one of the two.")
    if rule is None and weight is None and supervision != "field":
        return "gsmorph", 0.0
    if weight is None:
        weight = _SIMILARITY_WEIGHT if rule == "weighted" and supervision != "field" else 0.0
    return rule or "weighted", weight


def _words(name: str) -> str:
    return name.replace("_", " ").removesuffix(" zyx")
