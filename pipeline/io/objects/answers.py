"""What is wrong, by what a store or its library says, with a way out; credentials are never part of it."""

from __future__ import annotations

import re

from pipeline.io.clouds import NAMES

_ANSWER = re.compile(r"<Code>([^<]+)</Code>(?:.*?<Message>([^<]*)</Message>)?", re.DOTALL)
_STATUS = re.compile(r"non-2xx status code: (\d+ [A-Za-z ]+)")
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "The specified container does not exist")
_NO_ACCOUNT = ("ResourceNotFound",)
"""What Azure says of a container whose account is another one."""
_NEED = "they need to get, put, list and delete objects below this prefix"
_WAYS = (
    (_NO_BUCKET, "there is no such {bucket}; create it, or correct its name"),
    (_NO_ACCOUNT, "there is no such {bucket} in this account; see {names}"),
    (
        (
            *("ExpiredToken", "TokenRefreshRequired", "RequestExpired", "ExpiredTokenException"),
            "Signature not valid in the specified time frame",
        ),
        "the credentials have expired; renew them, and the same command continues from what is done",
    ),
    (
        (
            *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthenticationRequired"),
            *("AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"),
            *("failed to authenticate the request", "401 Unauthorized"),
        ),
        "the credentials are not those of this store; see {names}",
    ),
    (
        (
            *("AccessDenied", "AllAccessDisabled", "AuthorizationPermissionMismatch", "AuthorizationFailure"),
            *("AuthorizationResourceTypeMismatch", "AuthorizationServiceMismatch", "InsufficientAccountPermissions"),
            "403 Forbidden",
        ),
        f"these credentials may not do this; {_NEED}",
    ),
    (
        ("PermanentRedirect", "301 Moved", "AuthorizationHeaderMalformed"),
        "the bucket is in another region; set AWS_REGION",
    ),
    (("RequestTimeTooSkewed",), "the clock of this machine is wrong; set it, e.g. with `timedatectl set-ntp true`"),
    (
        ("SlowDown", "ServerBusy", "503 Service", "429 Too", "TooManyRequests"),
        "the store is overloaded; run the same command again to continue",
    ),
)
"""Words of an answer, and what they mean with the way out; the first that occurs counts."""
_BUCKETS = {"az": "container"}
"""What a store calls a bucket, where it has another word."""
_TO_SET = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or with `gcloud auth application-default login`",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_CONNECTION_STRING",
}
_OF_MACHINES = ("169.254.169.254", "169.254.170.2", "metadata.google.internal", "Account must be specified")
"""Where the account of a machine is asked for, if no credentials are set; or that there is no account."""
_FILE = re.compile(r"Unable to open service account file from (.+?): ")
_INVALID = re.compile(r'Path "([^"]*)"(?:: Encountered illegal| contained empty)')
_DOWN = "the store does not answer; see that it runs and the network is up, and the same command continues"


def why(text: str, scheme: str = "") -> str:
    """Return what is wrong, by what the store of a scheme or the library says, in one line."""
    if any(address in text for address in _OF_MACHINES):
        return f"no credentials were found; set them, e.g. {_TO_SET.get(scheme, _TO_SET['s3'])}"
    if invalid := _INVALID.search(text):
        return f"the name {invalid[1]!r} has an empty part, or . or .. as one, which is not supported; rename it"
    said = _said(text)
    way = _way_of(text, said, scheme) if said else _DOWN
    return f"{way} (it says: {said})" if way and said else way or f"the store says {said}"


def why_not_opened(text: str, scheme: str) -> str:
    """Return why the library refuses what is set, before it asks anybody."""
    if file := _FILE.search(text):
        return f"the file with the credentials, {file[1]}, cannot be read; see {NAMES[scheme]}"
    if any(word in text for word in _OF_MACHINES):
        return why(text, scheme)
    return f"the credentials or the endpoint that are set are not valid; see {NAMES[scheme]}"


def misses_the_bucket(text: str) -> bool:
    """Return whether it is the bucket, or the account, that was not found, and not an object in it."""
    return any(word in text for word in (*_NO_BUCKET, *_NO_ACCOUNT))


def _said(text: str) -> str:
    """The code of an answer with its message, or its status; empty if there was none."""
    answer, status = _ANSWER.search(text), _STATUS.search(text)
    if answer is None:
        return status[1].strip() if status else ""
    return ", ".join(filter(None, (answer[1], _line(answer[2] or ""))))


def _line(message: str) -> str:
    """The first line of a message: Azure adds the number of the request and the time."""
    return message.strip().partition("\n")[0]


def _way_of(text: str, said: str, scheme: str) -> str:
    detail = "Signature not valid in the specified time frame"
    told = f"{said} {detail}" if detail in text else said
    way = next((way for words, way in _WAYS if any(word in told for word in words)), "")
    return way.format(bucket=_BUCKETS.get(scheme, "bucket"), names=NAMES.get(scheme, NAMES["s3"]))
