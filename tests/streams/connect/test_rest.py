"""Connect's REST interface when it does not answer as it should: busy, silent, somebody else, or not for us."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest
from http_answers import Asked, Reply, answering

from tieout.streams.cli.exits import Exit
from tieout.streams.cli.main import main
from tieout.streams.connect.rest import ConnectRefused, ConnectUnreachable, Rest
from tieout.streams.connect.sections import Connect


def rest(url: str, timeout_s: float = 5.0) -> Rest:
    """A connection with a name and a password."""
    return Rest(Connect(url=url, username="ops", password="hunter2", timeout_s=timeout_s))


def test_a_rebalance_is_waited_out() -> None:
    """409 means: ask again; the request is the same, name and password go with it."""
    replies: Iterator[Reply] = iter([Reply(409, '{"message": "rebalancing"}')] * 2 + [Reply(201)])
    with answering(lambda _: next(replies)) as (url, asked):
        rest(url).put("a b", {"connector.class": "x"})
    request = Asked("PUT", "/connectors/a%20b/config", b'{"connector.class": "x"}', "Basic b3BzOmh1bnRlcjI=")
    assert asked == [request] * 3


def test_a_rebalance_without_end_is_an_answer() -> None:
    """Not waited for beyond the limit."""
    busy = Reply(409, '{"message": "rebalancing"}')
    with answering(lambda _: busy) as (url, _), pytest.raises(ConnectRefused) as caught:
        rest(url, timeout_s=0.5).put("a", {})
    assert caught.value.status == 409


def test_a_worker_that_starts_is_waited_for() -> None:
    """Its resources are not there at once: 404 first."""
    replies: Iterator[Reply] = iter([Reply(404, "<html>"), Reply(503, "x"), Reply(200, '{"version": "4.1.0"}')])
    with answering(lambda _: next(replies)) as (url, _):
        assert rest(url).version() == "4.1.0"


def test_who_is_not_let_in_is_told_in_connects_words() -> None:
    """And not in ours; without the password."""
    denied = Reply(401, '{"message": "User cannot access the resource."}')
    with answering(lambda _: denied) as (url, _), pytest.raises(ConnectRefused, match="401, User cannot") as caught:
        rest(url).plugins()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("body", ["<html>a proxy</html>", "{"])
def test_somebody_else_is_no_connect(body: str) -> None:
    """200 and a page: the address is wrong."""
    with answering(lambda _: Reply(200, body)) as (url, _), pytest.raises(ConnectUnreachable, match="not as"):
        rest(url).version()


def test_silence_ends_in_time() -> None:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        with pytest.raises(ConnectUnreachable, match=r"connect\.url"):
            rest(f"http://127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.3).version()
        assert time.monotonic() - begun < 5


def test_connectors_without_state_yet_have_a_configuration() -> None:
    """Connect leaves what no worker has begun to run out of its states, and so out of its combined answer."""
    def reply(asked: Asked) -> Reply:
        found = {"info": {"config": {"name": "a", "x": "1"}}} if "info" in asked.path else None
        return Reply(200, json.dumps({"a": found} if found else {}))

    with answering(reply) as (url, _):
        assert rest(url).configs() == {"a": {"name": "a", "x": "1"}}
        assert rest(url).states() == {}


@pytest.mark.parametrize(("command", "code"), [
    (["connectors", "plan"], Exit.UNREACHABLE), (["connectors", "apply", "--dry-run"], Exit.UNREACHABLE),
    (["connectors", "status"], Exit.UNREACHABLE), (["connectors", "sql", "nobody"], Exit.USAGE),
    (["connectors"], Exit.USAGE),
])  # fmt: skip
def test_how_a_command_ends(
    command: list[str], code: Exit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody at the address is 4, a wrong word is 2."""
    monkeypatch.setenv("TIEOUT_CONNECT__URL", "http://127.0.0.1:1")
    assert main(command) == code
    out, err = capsys.readouterr()
    assert command == ["connectors"] or (out == "" and err)


def test_no_address_is_a_matter_of_configuration(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """3, and the key that is missing."""
    monkeypatch.delenv("TIEOUT_CONNECT__URL", raising=False)
    assert main(["connectors", "plan"]) == Exit.CONFIGURATION
    assert "connect.url" in capsys.readouterr().err
