"""Errors of the training room: what an engineer reads when data, recipe or numbers are wrong.

PhraseClickError (model.errors)
└── TrainingError
    ├── DataError        a data set is missing, broken, or of another shape
    ├── RecipeError      a configuration names something unknown or impossible
    ├── DivergedError    the loss is no number any more
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
    """The loss became infinite or no number: the run stopped before it spoiled its weights."""


class TooLargeError(TrainingError):
    """A step did not fit into memory: the recipe asks for more than the machine has."""
