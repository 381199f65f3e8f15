"""All errors of the backend, each with a sentence that an annotator or admin can act on.

PhraseClickError (model/errors.py)
└── BackendError
    ├── LabelConfigError        the labeling config cannot work with this backend
    ├── RequestError            a request's body is not what Label Studio sends
    │   ├── NotJsonError            it is not JSON
    │   └── TooManyError            the same request came too often
    ├── PictureError            a task's picture is not available
    │   ├── PictureAddressError     its address is missing, of an unknown kind, or not allowed
    │   ├── PictureFetchError       its host did not return it
    │   │   └── PictureAwayError        … because the host is down
    │   └── PictureFormatError      the file is not a picture that can be read, or is too large
    ├── LabelStudioError        Label Studio's API refused a call or could not be reached
    │   ├── TokenError              its token is missing, expired or of the wrong kind
    │   └── CredentialsError        a file of secrets in the data folder cannot be read
    ├── DatabaseError           the backend's own database is missing, locked or too old
    │   └── UnstorableError         a value that no column can hold was asked for
    ├── VersionError            a model version is unknown, gone, or may not serve
    ├── StorageError            the store of model versions is unreachable, full or damaged
    ├── JobError                a job is unknown, has ended, or cannot be requested
    │   └── CancelledError          a job must stop, because it was cancelled
    │       ├── LostLeaseError          … because another worker has taken it over
    │       ├── GiveWayError            … paused: it continues later, from the queue
    │       └── OverdueError            … because it took longer than any job may
    ├── ReportError             a project, report or sample that does not exist
    │   └── FilterError             a filter of a report that cannot be read
    ├── ForgeryError            a change that did not come from a page of the dashboard
    ├── AddressError            the address to serve on is taken, or open without a password
    ├── BrokerError             Celery has no transport for the broker's URL
    ├── BenchError              the benchmark's server did not start or answered wrongly
    └── DemoError               make demo lacks a program, or a server of it did not start
"""

from datetime import timedelta

from model.errors import PhraseClickError


class BackendError(PhraseClickError):
    """Base of the backend's errors. ``status``: the HTTP status of a request that it ends."""

    status = 500

    def __init_subclass__(cls, status: int | None = None) -> None:
        super().__init_subclass__()
        if status is not None:
            cls.status = status


class LabelConfigError(BackendError, status=422):
    """The labeling config lacks a control that the backend needs, or contradicts itself."""


class RequestError(BackendError, status=422):
    """A request's body is not what Label Studio sends."""


class NotJsonError(RequestError, status=400):
    """A request's body is not JSON."""


class TooManyError(RequestError, status=429):
    """The same request came too often in a short time."""


class PictureError(BackendError, status=422):
    """A task's picture is not available."""


class PictureAddressError(PictureError):
    """The picture's address is missing, of an unknown kind, or not allowed."""


class PictureFetchError(PictureError):
    """The picture's host did not return it."""


class PictureAwayError(PictureFetchError):
    """The picture's host could not be reached, or returns nothing at the moment. The picture itself
    may be unchanged."""


class PictureFormatError(PictureError):
    """The file is not a picture that can be read, or is larger than allowed."""


class LabelStudioError(BackendError, status=502):
    """Label Studio refused a call (``answered``: with which HTTP status) or was not reached."""

    def __init__(self, sentence: str, *, answered: int | None = None) -> None:
        super().__init__(sentence)
        self.answered = answered


class TokenError(LabelStudioError):
    """Label Studio's token is missing, expired, or of the wrong kind."""


class CredentialsError(LabelStudioError, status=503):
    """A file of secrets in the data folder is empty, damaged or not readable.

    Nothing that the file guards is open meanwhile.
    """


class DatabaseError(BackendError):
    """The backend's own database is missing, locked or too old."""


class UnstorableError(DatabaseError, status=422):
    """A value that no column can hold: a number of 20 digits, half a character, a NUL."""


class VersionError(BackendError, status=404):
    """A model version is unknown, its files are gone, or it may not be used in this way."""


class StorageError(BackendError):
    """The store of model versions cannot be reached or written, or what it holds is damaged."""


class JobError(BackendError, status=409):
    """A job is unknown, has ended, or cannot be requested."""


class CancelledError(JobError):
    """A job must stop at once. Code that catches this to clean up raises it again."""


class LostLeaseError(CancelledError):
    """Another worker has taken the job over: this one may write nothing more."""


class GiveWayError(CancelledError):
    """The job goes back to the queue: for people, for another job, or because its worker ends.

    wait: how long it stays there at least.
    """

    def __init__(self, sentence: str, wait: timedelta = timedelta()) -> None:
        super().__init__(sentence)
        self.wait = wait


class OverdueError(CancelledError):
    """The job has taken longer than any job may."""


class ReportError(BackendError, status=404):
    """A project, report or sample that does not exist, or an unknown form of a report."""


class FilterError(ReportError, status=422):
    """A filter of a report that cannot be read."""


class ForgeryError(BackendError, status=403):
    """A change that was not requested by a form of the dashboard in this browser."""


class DemoError(BackendError):
    """The demonstration lacks a program, or one of its servers did not start."""


class AddressError(BackendError):
    """The address to serve on is taken or not this machine's, or open without a password."""


class BrokerError(BackendError):
    """Celery has no transport for the broker's URL, or that transport is not installed."""


class BenchError(BackendError):
    """The benchmark's server did not start, or answered wrongly."""
