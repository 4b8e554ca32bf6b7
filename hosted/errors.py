"""What can go wrong with a hosted job. Every text says rule, value and remedy, and holds no key and no signed address.

HostedError
├── RequestError          the request breaks a rule of the model; nothing was sent
├── PolicyError           the operator of this ComfyUI does not allow it; nothing was sent
├── AuthError             no key, or the provider refuses it
├── BalanceError          the account is empty
├── RefusedError          the provider did not take the job; nothing is charged
│   └── RateLimitedError  too many requests, so that it may be sent again
├── UnavailableError      the provider cannot be reached, or does not answer as documented
│   ├── NotSentError      no connection stood, so nothing left this machine
│   └── LostError         the exchange broke off, and the request may have arrived
├── UnclearError          a job was sent, and nobody can say yet whether it arrived
│   └── UnnotedError      it runs, and its id could not be written down
├── JobError              a job of a known id
│   ├── JobFailedError    the provider gave it up
│   ├── ModeratedError    its content filter refused it
│   ├── JobGoneError      the provider does not know it any more
│   └── JobPendingError   it takes longer than the node waits
├── DownloadError         the clip is made and paid, and could not be fetched
│   └── BrokenError       this attempt failed, and another one may not
└── FlaggedError          the provider flagged the clip, and the node is set to stop then
"""


class HostedError(RuntimeError):
    """A hosted clip could not be made."""


class RequestError(HostedError, ValueError):
    """The request breaks a rule of the model. Nothing was sent."""


class PolicyError(HostedError):
    """The operator of this ComfyUI does not allow it. Nothing was sent."""


class AuthError(HostedError):
    """There is no key, or the provider refuses it."""


class BalanceError(HostedError):
    """The account at the provider is empty."""


class RefusedError(HostedError):
    """The provider did not take the job, in so many words. Nothing is charged."""


class RateLimitedError(RefusedError):
    """Too many requests: the provider refused this one in so many words, so that it may be sent again."""

    def __init__(self, message: str, retry_after: float | None):
        super().__init__(message)
        self.retry_after = retry_after  # seconds, where the provider says so


class UnavailableError(HostedError):
    """The provider cannot be reached, or does not answer as documented."""


class NotSentError(UnavailableError):
    """No connection stood, so nothing left this machine."""


class LostError(UnavailableError):
    """The exchange broke off. The request may have arrived."""


class UnclearError(HostedError):
    """A job was sent, and nobody can say yet whether it arrived."""


class UnnotedError(UnclearError):
    """A job runs, and its id could not be written down."""


class JobError(HostedError):
    """A job of a known id did not lead to a clip."""


class JobFailedError(JobError):
    """The provider gave the job up."""


class ModeratedError(JobError):
    """The provider's content filter refused the job."""


class JobGoneError(JobError):
    """The provider does not know the job any more."""


class JobPendingError(JobError):
    """The job takes longer than the node waits. It goes on."""


class DownloadError(HostedError):
    """The clip is made and paid, and could not be fetched. Fetching it again costs nothing."""


class BrokenError(DownloadError):
    """This attempt failed in a way that another one may not."""


class FlaggedError(HostedError):
    """The provider flagged the clip, and the node is set to stop then."""
