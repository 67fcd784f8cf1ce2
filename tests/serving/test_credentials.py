"""Encrypted connections: own authority, client certificates, tokens (the audit's M7)."""

import re
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile

from components.errors import SwarError
from pipeline import cli
from serving.client import Client
from serving.credentials import Credentials
from tests.serving.support_certificates import Certificates, make_certificates
from tests.serving.support_endpoint import ENDPOINTS, RATE, FakeModel, voice


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def credentials(certificates: Certificates, tmp_path: Path) -> Credentials:
    token = tmp_path / "token"
    token.write_text("first.token\n")
    return Credentials(certificates.ca, certificates.client, certificates.client_key, token)


@pytest.fixture(params=ENDPOINTS)
def secure_url(request: pytest.FixtureRequest, model: FakeModel, certificates: Certificates):
    with ENDPOINTS[request.param](model, tls=certificates) as url:
        yield url


def refusal(url: str, credentials: Credentials | None) -> str:
    with (
        pytest.raises(SwarError) as caught,
        Client(url, credentials=credentials, deadline_seconds=2) as client,
    ):
        client.model_digest()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_certificate_and_token_are_shown_and_the_own_authority_is_trusted(
    secure_url: str, model: FakeModel, credentials: Credentials
) -> None:
    with Client(secure_url, credentials=credentials) as client:
        assert client.model_digest() == "model-1"
        assert credentials.token_file is not None
        Path(credentials.token_file).write_text("second.token")  # exchanged while the client lives
        client.model_digest()
    assert model.authorizations == ["Bearer first.token", "Bearer second.token"]


def test_commands_take_them(
    secure_url: str,
    model: FakeModel,
    credentials: Credentials,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recording = str(tmp_path / "a.wav")
    soundfile.write(recording, voice(180.0, 4.0), RATE)
    assert credentials.token_file is not None
    monkeypatch.setattr(
        sys,
        "argv",
        [
            *("swar", "verify", recording, recording, "--url", secure_url),
            *("--ca", str(credentials.ca), "--token-file", str(credentials.token_file)),
            *("--certificate", str(credentials.certificate), "--key", str(credentials.key)),
        ],
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert set(model.authorizations) == {"Bearer first.token"}


@pytest.mark.parametrize("option", ["--ca", "--certificate", "--key", "--token-file"])
def test_they_are_about_a_server(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["swar", "identify", "a.wav", option, "file"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert f"{option} is about a server: name it with --url" in capsys.readouterr().err


def test_without_a_token_none_is_sent(
    secure_url: str, model: FakeModel, credentials: Credentials
) -> None:
    with Client(secure_url, credentials=replace(credentials, token_file=None)) as client:
        client.model_digest()
    assert model.authorizations == [None]


def test_a_server_of_an_unknown_authority_gets_nothing(
    secure_url: str, model: FakeModel, credentials: Credentials
) -> None:
    refusal(secure_url, replace(credentials, ca=None))
    refusal(secure_url, None)
    assert model.calls == []


def test_a_client_without_its_certificate_is_refused(
    secure_url: str, model: FakeModel, certificates: Certificates
) -> None:
    refusal(secure_url, Credentials(ca=certificates.ca))
    assert model.calls == []


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_credentials_never_travel_unencrypted(scheme: str, credentials: Credentials) -> None:
    message = refusal(f"{scheme}://127.0.0.1:9", credentials)
    assert f"need {scheme}s://" in message


def test_half_a_certificate_is_refused(certificates: Certificates) -> None:
    message = refusal("grpcs://127.0.0.1:9", Credentials(certificate=certificates.client))
    assert "--key" in message


@pytest.mark.parametrize("option", ["ca", "token_file"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, option: str) -> None:
    missing = tmp_path / "missing"
    for scheme in ("grpcs", "https"):
        message = refusal(f"{scheme}://127.0.0.1:9", Credentials(**{option: missing}))
        assert f"{missing} cannot be read" in message


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize(
    ("address", "days", "reason"),
    [
        ("127.0.0.1", (-3, -1), "expired"),
        ("127.0.0.1", (1, 3), "not yet valid"),
        ("192.0.2.1", (-1, 1), "(?i)mismatch|hostname verification"),
    ],
)
def test_a_certificate_that_does_not_hold_is_told_at_once_with_the_remedy(
    tmp_path: Path,
    model: FakeModel,
    endpoint: str,
    address: str,
    days: tuple[int, int],
    reason: str,
) -> None:
    made = make_certificates(tmp_path, address=address, days=days)
    started = time.monotonic()
    with (
        ENDPOINTS[endpoint](model, tls=made) as url,
        pytest.raises(SwarError, match=rf"{url}.* cannot be called with TLS .*--ca") as caught,
        Client(
            url, credentials=Credentials(made.ca, made.client, made.client_key), deadline_seconds=60
        ) as client,
    ):
        client.model_digest()
    assert re.search(reason, str(caught.value))
    assert time.monotonic() - started < 30
    assert model.calls == []


@pytest.mark.parametrize("text", [b"abc\r\n", b"\xef\xbb\xbfabc\n", b"\n abc \n\n"])
def test_a_token_is_what_is_on_the_line(tmp_path: Path, text: bytes) -> None:
    """However an editor ends, or begins, a file."""
    token = tmp_path / "token"
    token.write_bytes(text)
    assert Credentials(token_file=token).authorization() == {"authorization": "Bearer abc"}


def test_a_file_without_end_is_not_read_to_it() -> None:
    zeros = Path("/dev/zero")
    message = refusal("https://127.0.0.1:9", Credentials(token_file=zeros))
    assert f"{zeros} is longer than" in message


@pytest.mark.parametrize("text", ["", "two words", "line\nline", "\x1b[2J", "\u0938", "a" * 5_000])
def test_what_is_no_token_is_refused(tmp_path: Path, text: str) -> None:
    token = tmp_path / "token"
    token.write_text(text)
    message = refusal("https://127.0.0.1:9", Credentials(token_file=token))
    assert f"{token} holds no token" in message


@pytest.mark.parametrize("scheme", ["grpcs", "https"])
def test_a_file_that_is_no_certificate_is_one_line(tmp_path: Path, scheme: str) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for credentials in (Credentials(ca=wrong), Credentials(certificate=wrong, key=wrong)):
        message = refusal(f"{scheme}://127.0.0.1:9", credentials)
        assert f"{wrong}" in message and "in PEM" in message


def test_files_may_be_named_as_text(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a.token")
    named = Credentials(token_file=f"{tmp_path}/token")
    assert named.authorization() == {"authorization": "Bearer a.token"}
    message = refusal("https://127.0.0.1:9", Credentials(ca=f"{tmp_path}/none"))
    assert message == f"{tmp_path}/none cannot be read: No such file or directory"


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    for scheme in ("grpc", "grpcs", "http", "https"):
        message = refusal(f"{scheme}://service:SECRET@127.0.0.1:9", None)
        assert "SECRET" not in message
        assert "--token-file" in message
