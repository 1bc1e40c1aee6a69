"""An account is the same in the words of any program."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.io.clouds import Azure, Google

words = st.text("abcxyz019", min_size=3, max_size=12)
keys = st.text("abcXYZ019+/", min_size=4, max_size=40).map(lambda text: f"{text}==")


@given(words, keys, st.sampled_from(["", "http://127.0.0.1:10000/{}", "https://{}.blob.example.org"]), st.booleans())
def test_a_connection_string_says_what_single_words_do(account, secret, endpoint, signed):
    signature = f"sv=2023-11-03&sp=rl&sig={secret.replace('=', '%3D')}" if signed else ""
    single = {
        "AZURE_STORAGE_ACCOUNT_NAME": account,
        "AZURE_STORAGE_SAS_TOKEN" if signed else "AZURE_STORAGE_ACCOUNT_KEY": signature or secret,
        "AZURE_STORAGE_ENDPOINT": endpoint.format(account),
    }
    there = Azure.said_in(single)
    assert (there.account, there.key, there.signature) == (account, "" if signed else secret, signature)
    again = Azure.said_in({"AZURE_STORAGE_CONNECTION_STRING": there.string, "AZURE_STORAGE_ACCOUNT_NAME": "another"})
    assert again.string == there.string
    assert (again.account, again.key, again.signature) == (there.account, there.key, there.signature)


def test_a_connection_string_need_not_name_all():
    plain = Azure.said_in(
        {"AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=b=="}
    )
    assert (plain.account, plain.key, plain.endpoint) == ("a", "b==", "https://a.blob.core.windows.net")
    for endpoint in ("https://me.blob.core.windows.net/", "http://127.0.0.1:10000/me"):
        said = f"BlobEndpoint={endpoint};SharedAccessSignature=?sv=1&sig=c%3D"
        there = Azure.said_in({"AZURE_STORAGE_CONNECTION_STRING": said})
        assert (there.account, there.signature, there.endpoint) == ("me", "sv=1&sig=c%3D", endpoint.rstrip("/"))


@pytest.mark.parametrize(
    ("said", "endpoint", "unsigned"),
    [
        ({}, "", False),
        ({"STORAGE_EMULATOR_HOST": "127.0.0.1:4443"}, "http://127.0.0.1:4443", True),
        ({"STORAGE_EMULATOR_HOST": "http://h:1/", "GOOGLE_BEARER_TOKEN": "t"}, "http://h:1", False),
        ({"STORAGE_EMULATOR_HOST": "http://h:1", "GOOGLE_BASE_URL": "https://g"}, "https://g", False),
        ({"CPL_GS_ENDPOINT": "https://g/", "GS_NO_SIGN_REQUEST": "YES"}, "https://g", True),
        ({"GOOGLE_SKIP_SIGNATURE": "true"}, "", True),
    ],
)
def test_an_emulator_of_google_is_asked_without_credentials_unless_there_are_some(said, endpoint, unsigned):
    there = Google.said_in(said)
    assert (there.endpoint, there.unsigned) == (endpoint, unsigned)
