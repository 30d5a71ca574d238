"""Whose image it is, told apart without being named."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Identity:
    """Digests of a patient's ID and name and of a frame of reference: to be compared, not to be read. "" is unknown."""

    patient_id: str = ""
    patient_name: str = ""
    frame_of_reference: str = ""

    @classmethod
    def of(cls, patient_id: str, patient_name: str, frame_of_reference: str) -> Identity:
        """From what DICOM says. Names that differ only in case, separators and letters beyond ASCII are one name.

        Scanners write such letters in different encodings, and whoever reads a name may not know in which.
        """
        plain = patient_name.encode("ascii", "ignore").decode("ascii").casefold()
        words = plain.translate(dict.fromkeys(map(ord, "^="), " ")).split()
        return cls(_digest(patient_id.strip()), _digest(" ".join(words)), _digest(frame_of_reference.strip()))


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_DIGITS] if text else ""
