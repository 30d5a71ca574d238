"""The errors that Regard raises on purpose.

A message is one line for the person who must act: what was expected, what came, what to do. It never
holds a patient's name, an identifier or a UID.
"""

from __future__ import annotations


class RegardError(Exception):
    """Base of every error that a user can do something about."""


class InputError(RegardError):
    """What was given (an image, a box, a point file, a setting) cannot be used."""


class OutputError(RegardError):
    """A result could not be written."""


class DeviceError(RegardError):
    """The chosen device is absent or has no memory left."""
