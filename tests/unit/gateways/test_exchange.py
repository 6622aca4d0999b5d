"""One request to a gateway: what it says, what can go wrong, and that nothing is waited for longer than allowed."""

import contextlib
import gc
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.gateways.serving import Machine, Reaction, closed_port, machine, seconds_of, serves
from worker.gateways import exchange as exchanging
from worker.gateways.exchange import MAX_ANSWER_BYTES, Deadline, HttpAnswer, exchange, refuse
from worker.gateways.port import GatewayUnavailableError

SECRET = "live_tressecret"
CHUNK = b"100\r\n" + b"x" * 256 + b"\r\n"


@pytest.fixture
def gateway() -> Iterator[Machine]:
    """A gateway's machine."""
    with machine() as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's own proxy is none of the tests' business."""
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for localhost that nobody trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "localhost.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    about = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    files = ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    subprocess.run([*command, *about, *files], check=True, capture_output=True)
    made.write_bytes((folder / "key").read_bytes() + (folder / "certificate").read_bytes())
    return made


@pytest.fixture
def _trusting(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """That certificate is trusted, and nothing else."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    exchanging._loaded.cache_clear()
    yield
    exchanging._loaded.cache_clear()


def got(url: str, seconds: float = 5) -> HttpAnswer:
    """The answer to a GET."""
    return exchange(Deadline(seconds), "GET", url, {"Authorization": f"Bearer {SECRET}"})


def trouble(url: str, seconds: float = 5) -> tuple[str, str]:
    """Why there is no answer, and what is said of it."""
    with pytest.raises(GatewayUnavailableError) as raised:
        got(url, seconds)
    assert SECRET not in raised.value.said
    return raised.value.why, raised.value.said


def test_a_request_is_sent_as_it_is_told(gateway: Machine) -> None:
    """Path and query, headers and body; the answer's status is for whoever asked."""
    gateway.react = serves(Reaction(body=b"non", status=404))
    answer = exchange(Deadline(), "POST", f"{gateway.url}/v2/a%2Fb?limit=1", {"X-Key": "k"}, b"question")
    assert (answer.status, answer.body, answer.skew_seconds) == (404, b"non", None)
    (asked,) = gateway.asked
    assert (asked.method, asked.path, asked.body) == ("POST", "/v2/a%2Fb?limit=1", b"question")
    assert asked.headers["X-Key"] == "k"


@pytest.mark.parametrize("date", ["", "hier", "Mon, 99 Foo 2026 99:99:99 GMT"])
def test_a_clock_that_cannot_be_read_is_no_clock(gateway: Machine, date: str) -> None:
    """The answer counts nevertheless."""
    gateway.react = serves(Reaction(headers={"Date": date}))
    assert got(gateway.url).skew_seconds is None


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 399])
def test_a_redirect_is_not_followed(gateway: Machine, status: int) -> None:
    """The question carries a key."""
    with machine() as elsewhere:
        gateway.react = serves(Reaction(status=status, headers={"Location": f"{elsewhere.url}/"}))
        assert trouble(gateway.url) == ("protocol", f"HTTP {status}")
        assert elsewhere.asked == []


@pytest.mark.parametrize(
    ("reaction", "why"),
    [
        (Reaction(raw=b"SSH-2.0-OpenSSH_9.6\r\n"), "protocol"),
        (Reaction(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "protocol"),
        (Reaction(raw=b"HTTP/1.1 200 " + b"x" * 70_000 + b"\r\n\r\n"), "protocol"),
        (Reaction(raw=b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n"), "protocol"),
        (Reaction(body=b"half", promised_bytes=8), "protocol"),
        (Reaction(body=b"x" * (MAX_ANSWER_BYTES + 1)), "protocol"),
        (Reaction(raw=b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_ANSWER_BYTES + 1)), "protocol"),
        (Reaction(hangs_up=True), "unreachable"),
    ],
)
def test_what_is_not_http_or_not_whole_is_no_answer(gateway: Machine, reaction: Reaction, why: str) -> None:
    """Another protocol, heads without end, too long, too short, nothing."""
    gateway.react = serves(reaction)
    assert trouble(gateway.url)[0] == why


@pytest.mark.parametrize(
    "reaction",
    [
        Reaction(body=b"x" * MAX_ANSWER_BYTES),
        Reaction(body=b"x" * MAX_ANSWER_BYTES, headers={"Connection": "close"}),
        Reaction(raw=b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * MAX_ANSWER_BYTES),
        Reaction(raw=b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * MAX_ANSWER_BYTES),
        Reaction(
            raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"100\r\n" + b"x" * 256 + b"\r\n0\r\n\r\n"
        ),
    ],
)
def test_an_answer_is_read_to_its_end(gateway: Machine, reaction: Reaction) -> None:
    """The longest, to the byte, however its end is said; also where the head already says goodbye."""
    gateway.react = serves(reaction)
    body = got(gateway.url).body
    assert set(body) == {ord("x")}
    assert len(body) in {MAX_ANSWER_BYTES, 256}


def open_files() -> int:
    """How many this process has."""
    return len(list(Path("/dev/fd").iterdir()))


def test_sockets_are_closed(gateway: Machine) -> None:
    """After an answer, a refusal, a timeout: a worker asks for years."""
    before = open_files()
    for reaction in (Reaction(), Reaction(status=302), Reaction(hangs_up=True), Reaction(after_seconds=0.2)):
        gateway.react = serves(reaction)
        for _ in range(5):
            with contextlib.suppress(GatewayUnavailableError):
                got(gateway.url, 0.1)
    gc.collect()
    patience = Deadline(5)  # the machine's own ends close in their own time
    while open_files() > before and patience.left():
        time.sleep(0.01)


@pytest.mark.parametrize(
    "reaction",
    [
        Reaction(hangs=True),
        Reaction(after_seconds=2),
        Reaction(drip_seconds=0.05),
        Reaction(body=b"x" * 100, drip_seconds=0.05),
        Reaction(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 50, drip_seconds=0.05),
    ],
)
def test_no_wait_is_longer_than_the_deadline(gateway: Machine, reaction: Reaction) -> None:
    """Silence, a late answer, a byte now and then: in the head, in the body, between chunks."""
    gateway.react = serves(reaction)
    found: list[str] = []
    assert seconds_of(lambda: found.append(trouble(gateway.url, 0.4)[0])) < 1.5
    assert found == ["timeout"]


def test_a_deadline_is_for_all_requests_of_one_ask(gateway: Machine) -> None:
    """What the first took, the second has not."""
    gateway.react = serves(Reaction(after_seconds=0.3))
    deadline = Deadline(0.5)
    exchange(deadline, "GET", gateway.url)
    with pytest.raises(GatewayUnavailableError) as raised:
        exchange(deadline, "GET", gateway.url)
    assert raised.value.why == "timeout"


def test_nobody_there_is_said_in_the_systems_own_words() -> None:
    """A closed port, a name that nobody has."""
    assert trouble(f"http://127.0.0.1:{closed_port()}") == ("unreachable", "Connection refused")
    assert trouble("https://gateway.invalid")[0] == "unreachable"


@pytest.mark.parametrize(
    "url",
    ["http://gateway.example/", "http://user@127.0.0.1/", "ftp://gateway.example/", "gateway.example", "https://["],
)
def test_an_address_where_anybody_between_could_answer_is_asked_nothing(url: str) -> None:
    """Wherever it comes from: the configuration, or the description that a service gives of itself."""
    assert trouble(url) == ("protocol", "insecure address")


def test_a_key_that_cannot_be_sent_is_not_quoted(gateway: Machine) -> None:
    """http.client would repeat it in its exception, and whoever logs that would log the key."""
    with pytest.raises(GatewayUnavailableError) as raised:
        exchange(Deadline(), "GET", gateway.url, {"Authorization": f"Bearer {SECRET}\n"})
    assert (raised.value.why, raised.value.said) == ("protocol", "ValueError")
    assert raised.value.__suppress_context__


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (401, "unauthorised"),
        (403, "unauthorised"),
        (408, "malfunction"),
        (429, "malfunction"),
        (500, "malfunction"),
        (503, "malfunction"),
        (400, "protocol"),
        (404, "protocol"),
        (204, "protocol"),
    ],
)
def test_a_status_is_never_about_the_payment(status: int, why: str) -> None:
    """Each with its number."""
    refused = refuse(HttpAnswer(status=status, body=b""))
    assert (refused.why, refused.said) == (why, f"HTTP {status}")


@pytest.mark.usefixtures("_trusting")
def test_a_gateway_that_is_who_it_says_is_heard(certificate: Path) -> None:
    """Over TLS."""
    with machine(serves(Reaction(body=b"oui")), certificate) as gateway:
        assert got(gateway.url).body == b"oui"


@pytest.mark.usefixtures("_trusting")
def test_another_name_is_another_gateway(certificate: Path) -> None:
    """The certificate is for localhost."""
    with machine(certificate=certificate) as gateway:
        why, said = trouble(gateway.url.replace("localhost", "127.0.0.1"))
        assert gateway.asked == []
    assert why == "unreachable"
    assert "mismatch" in said


def test_a_gateway_that_nobody_vouches_for_is_asked_nothing(certificate: Path) -> None:
    """Self-signed, or another protocol than TLS; the key stays here."""
    with machine(certificate=certificate) as gateway:
        why, said = trouble(gateway.url)
        assert gateway.asked == []
    assert (why, "self-signed" in said) == ("unreachable", True)
    with machine() as plain:
        assert trouble(plain.url.replace("http:", "https:"))[0] == "unreachable"


def test_tls_that_never_ends_its_greeting_is_left() -> None:
    """A port that accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found: list[str] = []
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        assert seconds_of(lambda: found.append(trouble(url, 0.4)[0])) < 1.5
    assert found == ["timeout"]


@pytest.mark.usefixtures("_trusting")
def test_a_town_halls_proxy_is_gone_through(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTPS_PROXY with its credentials; TLS is with the gateway, the proxy sees neither question nor key."""
    with machine(serves(Reaction(body=b"oui")), certificate) as gateway, machine() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//agent:mot%20de%20passe@"))
        assert got(gateway.url).body == b"oui"
        (asked,) = proxy.asked
        assert (asked.method, asked.path) == ("CONNECT", gateway.url.removeprefix("https://"))
        assert asked.headers["Proxy-Authorization"] == "Basic YWdlbnQ6bW90IGRlIHBhc3Nl"
        assert "Proxy-Authorization" not in gateway.asked[0].headers


@pytest.mark.usefixtures("_trusting")
def test_what_needs_no_proxy_is_reached_directly(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_PROXY."""
    with machine(serves(Reaction(body=b"oui")), certificate) as gateway, machine() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "localhost")
        assert got(gateway.url).body == b"oui"
        assert proxy.asked == []


def test_a_proxy_that_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """With its own status; or that it is not there."""
    with machine() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("localhost", "127.0.0.1"))
        proxy.refuses_tunnels = True
        why, said = trouble("https://gateway.example")
    assert (why, "407" in said) == ("unreachable", True)
    monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{closed_port()}")
    assert trouble("https://gateway.example") == ("unreachable", "Connection refused")
