"""What is let through to the page: its own routes, from its own address, with its own files."""

import inspect
import re
from pathlib import Path

import gradio.routes
import pytest
import requests
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from components.errors import SwarError
from serving.web.guard import Guard, PageSettings
from serving.web.login import ProxyLogin
from serving.web.uploads import Uploads
from tests.serving.web.support_page import User, served_page, write_voice

PUBLIC = "swar.example"


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    settings = PageSettings(port=0)
    with served_page(tmp_path_factory.mktemp("page") / "gallery", settings=settings) as url:
        yield User(url)


@pytest.fixture
def guarded(tmp_path):
    """A page that answers "reached" to all that reaches it."""

    def client(**settings):
        guard = Guard(
            PlainTextResponse("reached"),
            PageSettings(**settings),
            Uploads(tmp_path),
            ["start()"],
        )
        return TestClient(guard, base_url="http://localhost:7860")

    return client


def is_reached(answer):
    return answer.status_code == 200 and answer.text == "reached"


def test_only_the_routes_that_the_page_uses_are_served(guarded):
    """Of all that gradio's source declares, which is about a hundred."""
    source = inspect.getsource(gradio.routes)
    declared = re.findall(r'@(app|router)\.(get|post|head)\(\s*f?"([^"]+)"', source)
    assert len(declared) > 80
    client = guarded()
    reached = set()
    for owner, method, path in declared:
        path = ("/gradio_api" if owner == "router" else "") + path
        if method == "head":
            continue  # an answer to it says nothing of who gave it
        if is_reached(client.request(method, re.sub(r"\{\w+(:path)?\}", "x", path))):
            reached.add(f"{method} {path}")
    assert reached == {
        "get /",
        "get /assets/{path:path}",
        "get /favicon.ico",
        "get /gradio_api/upload_progress",
        "get /manifest.json",
        "get /static/{path:path}",
        "get /theme.css",
        "post /gradio_api/upload",
    }  # a call is let through too: its path is in none of these


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/process_recording",
        "gradio_api//process_recording",
        "gradio_api/process_recording/",
        "gradio_api/upload/../process_recording",
        "gradio_api/upload%2f..%2fprocess_recording",
        "static/../gradio_api/process_recording",
        "gradio_api/%70rocess_recording",
        "gradio_api/process_recording;x=1",
        "gradio_api/process_recording%00",
        "gradio_api\\process_recording",
        "Gradio_api/process_recording",
        "./gradio_api/process_recording",
        "gradio_api/component_server",
        "gradio_api/vibe-edit",
        "gradio_api/run/verify",
        "gradio_api/queue/join",
        "gradio_api/call/verify",
        "gradio_api/api/verify",
        "gradio_api/stream/x",
        "gradio_api/run-history/connect",
        "gradio_api/cancel",
        "login",
    ],
)
def test_nothing_else_takes_what_is_posted(user, path, tmp_path):
    """Its ffmpeg would read what a playlist in a recording names."""
    request = requests.Request("POST", user.url, data=b"x").prepare()
    request.url = user.url + path  # requests would tidy the path up
    assert user.session.send(request, timeout=30).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "config",
        "monitoring",
        "gradio_api/info",
        "gradio_api/openapi.json",
        "gradio_api/deep_link",
        "gradio_api/runs",
        "gradio_api/startup-events",
        "gradio_api/heartbeat/x",
        "gradio_api/vibe-code",
        "gradio_api/dev/reload",
        "gradio_api/token",
        "gradio_api/proxy=http://127.0.0.1:1/",
        "gradio_api/file=/etc/hostname",
        "gradio_api/file=http://127.0.0.1:1/",
        "gradio_api/file=swar-page-x/../../etc/hostname",
        "gradio_api/file/etc/hostname",
        "docs",
        "openapi.json",
        "svelte/x",
    ],
)
def test_nothing_else_can_be_read(user, path):
    answer = user.session.get(user.url + path, timeout=30)
    assert (answer.status_code, answer.text) == (404, "there is nothing here")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:7860", "[::1]:80", "LOCALHOST", PUBLIC])
def test_its_own_names_are_served(guarded, host):
    client = guarded(public_hosts=(PUBLIC,))
    assert is_reached(client.get("/", headers={"host": host}))


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "127.0.0.1.evil.example",
        "localhost.evil.example:7860",
        "evil.example:7860@localhost",
        "localhost:7860@evil.example",
        "localhost/evil.example",
        "localhost:x",
        "localhost.",
        "127.1",
        "2130706433",
        "0.0.0.0:7860",
        "[::ffff:127.0.0.1]",
        "[::1",
        "",
        "localhost, evil.example",
        "127.0.0.1:7860:80",
        "017700000001",
        "127.0.0.1.",
        "[::1].evil.example",
        "localhost%2eevil.example",
        "localhost#.evil.example",
    ],
)
def test_a_name_that_is_not_its_own_is_refused(guarded, host):
    """An attacker's name may lead to this machine: then their scripts count as the page's own."""
    answer = guarded(public_hosts=(PUBLIC,)).get("/", headers={"host": host})
    assert answer.status_code == 403
    assert "not served under that name" in answer.text


def test_two_names_at_once_are_refused(guarded):
    headers = [("host", "localhost"), ("host", "evil.example")]
    assert guarded().get("/", headers=headers).status_code == 403


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("localhost:7860", "http://localhost:7860", 200),
        (PUBLIC, f"https://{PUBLIC}", 200),
        (PUBLIC, f"https://{PUBLIC.upper()}", 200),
        ("localhost:7860", "http://127.0.0.1:7860", 403),
        ("localhost:7860", "http://localhost:3000", 403),
        ("localhost:7860", "http://localhost", 403),
        ("localhost:7860", "null", 403),
        ("localhost:7860", "", 403),
        ("localhost:7860", "http://localhost:7860.evil.example", 403),
        ("localhost:7860", "http://localhost:7860 http://evil.example", 403),
        ("localhost:7860", "http://evil.example@localhost:7860", 403),
        ("localhost:7860", "http://[::1]:7860", 403),
        ("localhost:7860", "file://", 403),
        ("localhost:7860", "chrome-extension://localhost:7860", 403),
        (PUBLIC, "http://evil.example", 403),
        (PUBLIC, f"https://{PUBLIC}.evil.example", 403),
        (PUBLIC, f"https://evil.example/{PUBLIC}", 403),
        (PUBLIC, f"https://evil-{PUBLIC}", 403),
        (PUBLIC, f"https://sub.{PUBLIC}", 403),
        (PUBLIC, f"ftp://{PUBLIC}", 403),
    ],
)
def test_only_its_own_origin_asks(guarded, host, origin, status):
    headers = {"host": host, "origin": origin}
    client = guarded(public_hosts=(PUBLIC,))
    for method, path in (("POST", "/gradio_api/upload"), ("GET", "/gradio_api/upload_progress")):
        answer = client.request(method, path, headers=headers)
        assert answer.status_code == status
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    preflight = {**headers, "access-control-request-method": "POST"}
    answer = client.options("/gradio_api/run/predict", headers=preflight)
    assert answer.status_code in (403, 404)
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_gradio_allows_no_other_origin_either(user):
    answer = user.session.get(user.url, headers={"origin": user.url.rstrip("/")}, timeout=30)
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_can_link_to_the_page_and_no_more(guarded, site):
    client = guarded()
    headers = {"sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert is_reached(client.get("/", headers=headers))
    for dest in ("iframe", "image", "script", "empty"):
        assert client.get("/", headers={**headers, "sec-fetch-dest": dest}).status_code == 403
    assert client.get("/gradio_api/upload_progress", headers=headers).status_code == 403
    assert client.post("/gradio_api/upload", headers=headers).status_code == 403


def test_every_answer_has_the_headers_that_keep_it_apart(user):
    for path in ("", "theme.css", "nothing-here", "gradio_api/upload_progress"):
        headers = user.session.get(user.url + path, timeout=30, stream=True).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cache-Control"] == "no-store"
        policy = headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
        assert "server" not in headers


def test_the_browser_is_told_to_keep_no_runs(user):
    assert re.search(r'"run_history": ?false', user.html())


@pytest.mark.parametrize(
    "name",
    [
        "/etc/hostname",
        "http://127.0.0.1:1/voice.wav",
        "{folder}/../{name}",
        "{folder}",
        "{folder}x/a.wav",
        "{folder}/./a.wav",
        "",
        7,
        ["/etc/hostname"],
        {"path": "/etc/hostname"},
    ],
)
def test_a_call_names_no_file_but_uploads(user, name, tmp_path):
    other = write_voice(tmp_path / "other.wav", 110)
    mine = Path(user.upload(other))
    if isinstance(name, str):
        name = name.format(folder=mine.parent.parent, name=str(other).lstrip("/"))
    if name == str(mine.parent.parent):
        name = str(other)
    with pytest.raises(requests.HTTPError) as raised:
        user.call("identify", ["The model's own threshold", {**user.file(str(mine)), "path": name}])
    assert raised.value.response is not None and raised.value.response.status_code == 403


@pytest.mark.parametrize("body", [b"", b"[", b"[" * 60_000, b"\xff"])
def test_a_call_that_is_no_json_is_refused(user, body):
    answer = user.session.post(f"{user.url}gradio_api/run/predict", data=body, timeout=30)
    assert answer.status_code == 400


def test_a_call_has_a_length_and_it_is_short(guarded):
    client = guarded()
    assert client.post("/gradio_api/run/predict", content=b"x" * 70_000).status_code == 413
    assert client.post("/gradio_api/run/predict", content=iter([b"{}"])).status_code == 411


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"host": "0.0.0.0"}, "--public-host"),
        ({"host": "::"}, "--public-host"),
        ({"host": "swar.example"}, "--public-host"),
        ({"host": "0.0.0.0", "public_hosts": (PUBLIC,)}, "--auth FILE"),
        ({"public_hosts": (PUBLIC,)}, "--auth FILE"),  # a proxy on this machine
        ({"public_hosts": ("https://swar.example",)}, "leave out scheme and port"),
        ({"public_hosts": ("swar.example:80",)}, "leave out scheme and port"),
    ],
)
def test_a_page_that_leaves_this_machine_needs_names_and_a_login(tmp_path, settings, told):
    with (
        pytest.raises(SwarError, match=told),
        served_page(
            tmp_path, endpoint="grpc://127.0.0.1:1", settings=PageSettings(port=0, **settings)
        ),
    ):
        pass


def test_with_both_it_may(tmp_path):
    login = ProxyLogin("X-User", ["10.0.0.1"])
    PageSettings("0.0.0.0", 0, (PUBLIC,), login).check()
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.2"):
        PageSettings(host).check()
