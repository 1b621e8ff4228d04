"""Every error this project raises on purpose.

    FairtriggerError
    ├── ConfigError            a setting or a run configuration is wrong
    ├── DataError              a data set cannot be read as asked
    ├── InputError             one image or text from a client cannot be used
    ├── ModelError             a model bundle cannot be loaded, or its weights changed
    │   ├── ModelChanged         what an address answers is not what was recorded
    │   └── EndpointFailed       the address of a model answered, but not with scores
    ├── EndpointUnavailable    the address of a model does not answer at the moment
    ├── ArtifactError
    │   ├── ArtifactCorrupt      damaged, tampered with, or out of its own bounds
    │   ├── ArtifactUnsupported  written in a format version this release does not know
    │   ├── ArtifactMismatch     made for another model or another preprocessing
    │   ├── ArtifactUntrusted    not signed by a trusted key, where that is asked for
    │   └── ArtifactUncertified  its selection did not certify it, where that is asked for
    └── StoreError
        ├── NotFound             no such model, version or file
        ├── RevisionConflict     the rollout was changed since it was read
        └── StoreUnavailable     the store cannot be reached

A message names the offending value and says what to do next.
"""

from __future__ import annotations


class FairtriggerError(Exception):
    """Base of all errors raised on purpose; its text is meant to be read by a person."""


class ConfigError(FairtriggerError):
    """A setting or a run configuration is wrong."""


class DataError(FairtriggerError):
    """A data set cannot be read as asked."""


class InputError(FairtriggerError):
    """One input of a client cannot be used; `code` is stable and machine-readable."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class ModelError(FairtriggerError):
    """A model bundle cannot be loaded, or its weights are not the ones that were fingerprinted."""


class ModelChanged(ModelError):
    """The model behind an address no longer answers as it did when its bundle was made."""


class EndpointFailed(ModelError):
    """A model's address answered, but with nonsense, or with the HTTP `status` of an error.

    The text may quote the answer: it is for the log and the command line, never for clients.
    """

    def __init__(self, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.status = status

    @property
    def of_rows(self) -> bool:
        """Whether the rows of the request may be to blame, so that others may fare better."""
        return self.status in (400, 413, 415, 422, 500)


class EndpointUnavailable(FairtriggerError):
    """The model's address does not answer at the moment; try again after `retry_after` seconds.

    `stated`: it said so itself. `gone`: there was no connection, and what comes back may be another model.
    """

    def __init__(self, message: str, retry_after: int = 1, *, stated: bool = False, gone: bool = False) -> None:
        super().__init__(message)
        self.retry_after, self.stated, self.gone = retry_after, stated, gone


class ArtifactError(FairtriggerError):
    """A trigger artifact cannot be used."""


class ArtifactCorrupt(ArtifactError):
    """The artifact is damaged, tampered with, or breaks its own stated bounds."""


class ArtifactUnsupported(ArtifactError):
    """The artifact is written in a format version this release does not know."""


class ArtifactMismatch(ArtifactError):
    """The artifact was made for another model or another preprocessing."""


class ArtifactUntrusted(ArtifactError):
    """The artifact is not signed by a trusted key, where that is asked for."""


class ArtifactUncertified(ArtifactError):
    """The artifact's selection did not certify it, where that is asked for."""


class StoreError(FairtriggerError):
    """The trigger store refused or failed."""


class NotFound(StoreError):
    """No such model, version or file in the store."""


class RevisionConflict(StoreError):
    """The rollout was changed since it was read."""


class StoreUnavailable(StoreError):
    """The store cannot be reached at the moment."""
