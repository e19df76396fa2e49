"""Reading what an SDK hands over: it checks nothing, so neither presence nor type of a field is sure."""

from api.models.text import storable

_MODEL_CHARACTERS_MAX = 200
_COUNT_MAX = 1_000_000_000
"""No call has more tokens; a larger figure is not believed, nor would it fit the ledger's columns."""


def text_in(holder: object, name: str) -> str | None:
    """The field, when it is text; None else."""
    value = getattr(holder, name, None)
    return value if isinstance(value, str) else None


def count_in(holder: object, name: str) -> int | None:
    """The field, when it is a whole number in 0..`_COUNT_MAX`; None else."""
    value = getattr(holder, name, None)
    return value if type(value) is int and 0 <= value <= _COUNT_MAX else None


def model_named(holder: object) -> str | None:
    """The model's name as the provider gives it; None or empty where it gives none."""
    name = text_in(holder, "model")
    return None if name is None else storable(name)[:_MODEL_CHARACTERS_MAX]
