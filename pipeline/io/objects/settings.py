"""How to reach an object store, by the environment and by the files that other programs read too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from configparser import ConfigParser, Error
from pathlib import Path

from pipeline.io.clouds import Azure, Google, is_yes

_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
    "region": "region",
    "endpoint_url": "endpoint",
}
"""Names in the files of AWS, and of the library."""
_OURS = {
    "s3": ("AWS_",),
    "gs": ("GOOGLE_", "GS_", "CPL_GS_", "STORAGE_EMULATOR_HOST"),
    "az": ("AZURE_",),
}
"""How the names in the environment begin that say something of a store."""
_NOBODY = "none"
"""A token for whoever asks without credentials: the library would ask the machine for some before it writes."""
_FILES = {"AWS_SHARED_CREDENTIALS_FILE": "credentials", "AWS_CONFIG_FILE": "config"}


def said() -> tuple[tuple[str, str], ...]:
    """Return what the environment says of object stores."""
    ours = tuple(start for starts in _OURS.values() for start in starts)
    return tuple(sorted(each for each in os.environ.items() if each[0].startswith(ours)))


def settings_of(scheme: str) -> dict[str, str]:
    """Return the settings of a store that its library does not find in the environment by itself."""
    return {"s3": _of_s3, "gs": _of_google, "az": _of_azure}[scheme](os.environ)


def has_credentials(scheme: str) -> bool:
    """Return whether credentials are set, or it is said that none are needed; those of a machine are not seen."""
    if scheme == "s3":
        return (
            not {"access_key_id", "skip_signature"}.isdisjoint(_of_s3(os.environ)) or "AWS_ACCESS_KEY_ID" in os.environ
        )
    return any(name.startswith(_OURS[scheme]) for name in os.environ)


def _of_s3(said: Mapping[str, str]) -> dict[str, str]:
    in_files = _profile(said)
    if said.get("AWS_ACCESS_KEY_ID") and "AWS_PROFILE" not in said:
        in_files = {name: in_files[name] for name in ("region", "endpoint") if name in in_files}
    named = {
        "endpoint": said.get("AWS_ENDPOINT_URL_S3") or said.get("AWS_ENDPOINT_URL") or _endpoint_of_gdal(said),
        "region": said.get("AWS_REGION") or said.get("AWS_DEFAULT_REGION"),
        "skip_signature": "true" if is_yes(said.get("AWS_NO_SIGN_REQUEST", "")) else "",
        "virtual_hosted_style_request": "true" if is_yes(said.get("AWS_VIRTUAL_HOSTING", "")) else "",
    }
    found = in_files | {name: value for name, value in named.items() if value}
    return {"region": "us-east-1", **found}


def _of_azure(said: Mapping[str, str]) -> dict[str, str]:
    there = Azure.said_in(said)
    named = {
        "account_name": there.account,
        "account_key": there.key,
        "sas_token": "" if there.key else there.signature,
        "endpoint": there.endpoint,
        "skip_signature": "true" if there.unsigned else "",
    }
    return {name: value for name, value in named.items() if value}


def _of_google(said: Mapping[str, str]) -> dict[str, str]:
    there = Google.said_in(said)
    named = {
        "base_url": there.endpoint,
        "skip_signature": "true" if there.unsigned else "",
        "bearer_token": _NOBODY if there.unsigned else "",
    }
    return {name: value for name, value in named.items() if value}


def _endpoint_of_gdal(said: Mapping[str, str]) -> str | None:
    """Return the endpoint in the words of GDAL, which reads inputs: a host, and whether it is spoken to by https."""
    host = said.get("AWS_S3_ENDPOINT", "")
    scheme = "http" if said.get("AWS_HTTPS", "YES").upper() in ("NO", "FALSE", "OFF", "0") else "https"
    return host if "://" in host else f"{scheme}://{host}" if host else None


def _profile(said: Mapping[str, str]) -> dict[str, str]:
    """Return what the files of AWS say of the profile in use; the library does not read them."""
    profile, found = said.get("AWS_PROFILE", "default"), dict[str, str]()
    for variable, name in _FILES.items():
        parser = ConfigParser(interpolation=None)
        try:
            parser.read(said.get(variable) or Path.home() / ".aws" / name, encoding="utf-8")
        except (Error, OSError, UnicodeDecodeError):
            continue
        section = next((each for each in (profile, f"profile {profile}") if parser.has_section(each)), None)
        if section is not None:
            found |= {_KEYS[key]: value for key, value in parser.items(section) if key in _KEYS}
    return found
