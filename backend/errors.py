"""Every error of the Label Studio side, each with a sentence an annotator or admin can act on.

PhraseClickError (model/errors.py)
└── BackendError
    ├── LabelConfigError        the labeling config cannot work with this backend
    ├── RequestError            a request's body is not what Label Studio sends
    │   ├── NotJsonError            it is not even JSON
    │   └── TooManyError            the same was asked for too often
    ├── PictureError            a task's picture could not be had
    │   ├── PictureAddressError     its address is missing, of an unknown kind, or not allowed
    │   ├── PictureFetchError       the host that keeps it did not hand it out
    │   │   └── PictureAwayError        … and could not have, whichever picture it was asked for
    │   └── PictureFormatError      what came is not a picture that can be read, or is too large
    ├── LabelStudioError        Label Studio's API refused or could not be reached
    │   ├── TokenError              its token is dead, missing or of the wrong kind
    │   └── CredentialsError        a file of secrets in the data folder cannot be read
    ├── DatabaseError           the backend's own database is missing, locked or too old
    ├── VersionError            a model version is unknown, gone, or may not serve
    ├── StorageError            the store of model versions is away, full or damaged
    ├── JobError                a job is unknown, ended already, or cannot be asked for
    │   └── CancelledError          a job is to stop: somebody asked for its end
    │       ├── LostLeaseError          … or another worker has it by now
    │       ├── GiveWayError            … or it goes on later, from the queue
    │       └── OverdueError            … or it has taken longer than any job may
    ├── ReportError             a report was asked for what is not there, or in a form unknown
    │   └── FilterError             what it is to be narrowed to cannot be read
    ├── ForgeryError            a change that no page of the dashboard asked for
    ├── SamplesError            phraseclick samples was asked for what is not there
    ├── AddressInUseError       the address to serve on is taken or not this machine's
    ├── OpenToNetworkError      other machines would reach a backend without a password
    ├── BenchError              the benchmark's server did not start or answered wrongly
    └── DemoError               make demo lacks a program, or a server of it did not start
"""

from datetime import timedelta

from model.errors import PhraseClickError


class BackendError(PhraseClickError):
    """Base of the Label Studio side. ``status``: the HTTP status where an error ends a request."""

    status = 500


class LabelConfigError(BackendError):
    """The labeling config lacks a control that the backend needs, or contradicts itself."""

    status = 422


class RequestError(BackendError):
    """A request's body is not what Label Studio sends."""

    status = 422


class NotJsonError(RequestError):
    """A request's body is not JSON."""

    status = 400


class TooManyError(RequestError):
    """The same was asked for too often in a short time."""

    status = 429


class PictureError(BackendError):
    """A task's picture could not be had."""

    status = 422


class PictureAddressError(PictureError):
    """The picture's address is missing, of an unknown kind, or not allowed."""


class PictureFetchError(PictureError):
    """The host that keeps the picture did not hand it out."""


class PictureAwayError(PictureFetchError):
    """Whoever keeps the picture was not reached, or hands nothing out now. It says nothing of the
    picture itself: it may be there as ever."""


class PictureFormatError(PictureError):
    """What came is not a picture that can be read, or it is larger than allowed."""


class LabelStudioError(BackendError):
    """Label Studio refused a call (``answered``: with which HTTP status) or was not reached."""

    status = 502

    def __init__(self, sentence: str, *, answered: int | None = None) -> None:
        super().__init__(sentence)
        self.answered = answered


class TokenError(LabelStudioError):
    """Label Studio's token is missing, dead, or of the wrong kind."""


class CredentialsError(LabelStudioError):
    """A file of secrets in the data folder is empty, damaged or not readable.

    Nothing that the file guards is open meanwhile.
    """

    status = 503


class DatabaseError(BackendError):
    """The backend's own database is missing, locked or too old."""


class VersionError(BackendError):
    """A model version is unknown, its files are gone, or it may not be what is asked of it."""

    status = 404


class StorageError(BackendError):
    """The store of model versions cannot be reached or written, or what it holds is damaged."""


class JobError(BackendError):
    """A job is unknown, has ended already, or cannot be asked for."""

    status = 409


class CancelledError(JobError):
    """A job is to stop at once. Whoever cleans up on it raises it again."""


class LostLeaseError(CancelledError):
    """Another worker has the job by now: this one may write nothing more."""


class GiveWayError(CancelledError):
    """The job goes back to the queue: for people, for another job, or because its worker ends.

    wait: how long it stays there at least.
    """

    def __init__(self, sentence: str, wait: timedelta = timedelta()) -> None:
        super().__init__(sentence)
        self.wait = wait


class OverdueError(CancelledError):
    """The job has taken longer than any job may."""


class ReportError(BackendError):
    """A report was asked for what is not there, or in a form that is unknown."""

    status = 404


class FilterError(ReportError):
    """What a report is to be narrowed to cannot be read."""

    status = 422


class ForgeryError(BackendError):
    """A change was asked for, but not by a form of the dashboard that this browser was given."""

    status = 403


class SamplesError(BackendError):
    """``phraseclick samples`` was asked for what is not there."""


class DemoError(BackendError):
    """The demonstration lacks a program, or one of its servers did not start."""


class AddressInUseError(BackendError):
    """The address to serve on is taken by another program, or is not this machine's."""


class OpenToNetworkError(BackendError):
    """Other machines would reach the backend, and it has no password."""


class BenchError(BackendError):
    """The benchmark's server did not start, or answered wrongly."""
