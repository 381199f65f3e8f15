"""The base of all errors of this project, and the errors of the model package.

PhraseClickError            a sentence for an annotator, an admin or an engineer, and what to do
├── CheckpointError         a checkpoint is missing, damaged, or does not fit
├── WordVectorsError        word vectors could not be read or found
├── PromptError             clicks, phrase or mask that the network cannot take
└── (training, backend)     see training/errors.py and backend/errors.py
"""


class PhraseClickError(Exception):
    """Base class. ``str(error)`` is a sentence that says what happened and what to do."""


class CheckpointError(PhraseClickError):
    """A checkpoint directory is missing a file, fails its SHA-256, or does not fit the network."""


class WordVectorsError(PhraseClickError):
    """Word vectors could not be found or read."""


class PromptError(PhraseClickError):
    """Clicks, phrase, picture or previous mask have a shape or value the network cannot take."""
