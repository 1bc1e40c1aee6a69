"""How Azure and Google Cloud Storage are reached: what the environment says, in the words of several programs.

Standard library only. Scenes are read by another library than the one that writes, and each has names of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

NAMES = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, STORAGE_EMULATOR_HOST",
    "az": "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""By scheme, the variables for credentials and endpoint."""
_KEYS = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY", "AZURE_STORAGE_KEY")
_FILES = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH")
_IDENTITIES = (*_FILES, "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_BEARER_TOKEN")


def is_yes(word: str) -> bool:
    """Return whether an option is on, as GDAL reads options."""
    return word.upper() in ("YES", "TRUE", "ON", "1")


@dataclass(frozen=True)
class Azure:
    """An account of Azure's blobs. What is empty was not said."""

    account: str
    key: str
    signature: str
    """A shared access signature (SAS), without its question mark."""
    endpoint: str
    """Address of the account, without a slash at its end."""
    unsigned: bool

    @classmethod
    def said_in(cls, said: Mapping[str, str]) -> Azure:
        """Return the account of an environment; a connection string counts before single words."""
        string = said.get("AZURE_STORAGE_CONNECTION_STRING", "")
        unsigned = any(is_yes(said.get(name, "")) for name in ("AZURE_NO_SIGN_REQUEST", "AZURE_SKIP_SIGNATURE"))
        return cls._of_string(string, unsigned=unsigned) if string else cls(
            _first(said, "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"),
            _first(said, *_KEYS),
            _first(said, "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY").removeprefix("?"),
            _first(said, "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT").rstrip("/"),
            unsigned,
        )  # fmt: skip

    @classmethod
    def _of_string(cls, string: str, *, unsigned: bool) -> Azure:
        parts = dict(part.strip().split("=", 1) for part in string.split(";") if "=" in part)
        account = parts.get("AccountName", "")
        where = f"{account}.blob.{parts.get('EndpointSuffix', 'core.windows.net')}"
        endpoint = parts.get("BlobEndpoint") or f"{parts.get('DefaultEndpointsProtocol', 'https')}://{where}"
        signature = parts.get("SharedAccessSignature", "").removeprefix("?")
        return cls(
            account or _account_at(endpoint), parts.get("AccountKey", ""), signature, endpoint.rstrip("/"), unsigned
        )

    @property
    def string(self) -> str:
        """The connection string."""
        where = self.endpoint or f"https://{self.account}.blob.core.windows.net"
        access = f"AccountKey={self.key}" if self.key else f"SharedAccessSignature={self.signature}"
        return f"AccountName={self.account};{access};BlobEndpoint={where}"


@dataclass(frozen=True)
class Google:
    """Google Cloud Storage, or a server with its interface. What is empty was not said."""

    endpoint: str
    """Address of the server, without a slash at its end."""
    file: str
    """File with the credentials of a service account or a user."""
    token: str
    unsigned: bool

    @classmethod
    def said_in(cls, said: Mapping[str, str]) -> Google:
        """Return what an environment says; an emulator is asked without credentials, unless there are some."""
        emulator = said.get("STORAGE_EMULATOR_HOST", "")
        named = _first(said, "GOOGLE_BASE_URL", "CPL_GS_ENDPOINT")
        endpoint = named or (emulator if "://" in emulator else f"http://{emulator}" if emulator else "")
        unsigned = any(is_yes(said.get(name, "")) for name in ("GS_NO_SIGN_REQUEST", "GOOGLE_SKIP_SIGNATURE"))
        anonymous = bool(emulator) and not named and not _first(said, *_IDENTITIES)
        token = said.get("GOOGLE_BEARER_TOKEN", "")
        return cls(endpoint.rstrip("/"), _first(said, *_FILES), token, unsigned or anonymous)


def _first(said: Mapping[str, str], *names: str) -> str:
    return next((said[name] for name in names if said.get(name)), "")


def _account_at(endpoint: str) -> str:
    """The account in the address of its blobs: a connection string with a signature need not name it."""
    host, _, path = endpoint.partition("://")[2].partition("/")
    return path.strip("/") or host.partition(".")[0]
