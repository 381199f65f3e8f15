"""Errors of training and evaluation.

PhraseClickError (model.errors)
└── TrainingError
    ├── DataError        a data set is missing, broken, or has another shape
    ├── RecipeError      a configuration has an unknown key or an impossible value
    ├── DivergedError    the loss is not finite
    └── TooLargeError    a step does not fit into memory
"""

from model.errors import PhraseClickError


class TrainingError(PhraseClickError):
    """Base of everything that training and evaluation raise on purpose."""


class DataError(TrainingError):
    """A data set's file is missing or cannot be read."""


class RecipeError(TrainingError):
    """A training configuration holds an unknown key or an impossible value."""


class DivergedError(TrainingError):
    """The loss is not finite; the run stopped before it changed its weights."""


class TooLargeError(TrainingError):
    """A step did not fit into memory: the recipe asks for more than the machine has."""
