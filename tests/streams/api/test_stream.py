"""The event stream: values first, changes as they happen, what was missed by id, an honest reset, a heartbeat."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import httpx
import pytest
from api_firm import MINUTE, UK, Firm, http

from tieout.streams.api.hub import FOLLOWERS_MAX, HEARTBEAT, Hub
from tieout.streams.api.services import Services
from tieout.streams.api.stream_routes import _follow

pytestmark = pytest.mark.anyio


class Got(NamedTuple):
    id: str
    name: str
    body: Any


def parse(wire: bytes) -> Got:
    fields = dict(line.split(": ", 1) for line in wire.decode().strip().splitlines())
    return Got(fields["id"], fields["event"], json.loads(fields["data"]))


class Follower:
    """Reads a hub's stream event by event; heartbeats are left out."""

    def __init__(self, firm: Firm, last_event_id: str | None = None, kpis: list[str] | None = None) -> None:
        self._stream = firm.hub.follow(
            last_event_id,
            lambda: firm.publisher.start(kpis),
            lambda event: kpis is None or event.name != "kpi" or event.subject in kpis,
            heartbeat_s=0.02,
        )

    async def events(self) -> AsyncIterator[Got]:
        async for wire in self._stream:
            if wire.startswith(b"id:"):
                yield parse(wire)

    async def take(self) -> list[Got]:
        """Everything until the next heartbeat."""
        found: list[Got] = []
        async for wire in self._stream:
            if wire == HEARTBEAT:
                return found
            if wire.startswith(b"id:"):
                found.append(parse(wire))
        return found

    async def close(self) -> None:
        await self._stream.aclose()


async def test_a_new_follower_gets_every_value_first(furnished: Firm) -> None:
    furnished.publisher.publish()
    follower = Follower(furnished)
    first = await follower.take()
    assert {event.body["id"] for event in first if event.name == "kpi"} == set(furnished.values.catalogue)
    assert [event.body["source"] for event in first if event.name == "source"] == [
        f"{system}/main" for system in ("CRM", "ERP", "HCM", "PSA", "SCHED", "TIME")
    ]
    assert first[-1].name == "freshness"
    await follower.close()


async def test_changes_come_once_and_only_what_changed(furnished: Firm) -> None:
    furnished.publisher.publish()
    follower = Follower(furnished)
    await follower.take()
    furnished.cell("unbilled_hours", 3_600, "s", partition=3, **UK)
    furnished.cell("unbilled_hours", 7_200, "s", partition=3, **UK)
    furnished.finding("f-7", impact_minor=100)
    furnished.publisher.publish()
    events = await follower.take()
    assert [(event.name, event.body.get("exact")) for event in events] == [
        ("kpi", "429.5003"), ("finding", None), ("freshness", None),
    ]  # fmt: skip
    furnished.publisher.publish()
    assert await follower.take() == []
    await follower.close()


async def test_who_returns_gets_exactly_what_was_missed(furnished: Firm) -> None:
    furnished.publisher.publish()
    follower = Follower(furnished)
    last = (await follower.take())[-1].id
    await follower.close()
    for partition in (5, 6):
        furnished.cell("unbilled_hours", 3_600, "s", partition=partition, **UK)
        furnished.publisher.publish()
    back = Follower(furnished, last)
    missed = await back.take()
    assert [event.body["exact"] for event in missed if event.name == "kpi"] == ["428.5003", "429.5003"]
    numbers = [int(event.id.partition("-")[2]) for event in missed]
    assert numbers == sorted(set(numbers))
    assert numbers[0] == int(last.partition("-")[2]) + 1
    await back.close()


@pytest.mark.parametrize("last", ["abc-999999", "fff-1", "nonsense", "abc-", "abc-²"])
async def test_an_id_that_is_not_ours_is_a_reset_and_every_value(furnished: Firm, last: str) -> None:
    furnished.publisher.publish()
    follower = Follower(furnished, last)
    events = await follower.take()
    assert events[0].name == "reset"
    assert {event.body["id"] for event in events if event.name == "kpi"} == set(furnished.values.catalogue)
    await follower.close()


async def test_what_is_no_longer_kept_is_a_reset(furnished: Firm) -> None:
    furnished.publisher.publish()
    follower = Follower(furnished)
    last = (await follower.take())[-1].id
    furnished.hub.publish(("kpi", "unbilled_hours", b"{}") for _ in range(100))  # the ring keeps 64
    back = Follower(furnished, last)
    assert (await back.take())[0].name == "reset"
    assert (await follower.take())[0].name == "reset"  # one that was connected all the time, and too slow
    await back.close()
    await follower.close()


async def test_the_last_kept_event_is_still_resumed_from(furnished: Firm) -> None:
    furnished.hub.publish(("kpi", "unbilled_hours", b"{}") for _ in range(64 + 1))
    back = Follower(furnished, "abc-1")
    assert [event.id for event in await back.take()] == [f"abc-{n}" for n in range(2, 66)]
    await back.close()


async def test_only_the_wanted_kpis(furnished: Firm) -> None:
    furnished.publisher.publish()
    follower = Follower(furnished, kpis=["held_hours"])
    assert [event.body["id"] for event in await follower.take() if event.name == "kpi"] == ["held_hours"]
    furnished.cell("unbilled_hours", 3_600, "s", partition=3, **UK)
    furnished.cell("held_hours", 3_600, "s", partition=3, **UK)
    furnished.publisher.publish()
    assert [event.body["id"] for event in await follower.take() if event.name == "kpi"] == ["held_hours"]
    await follower.close()


async def test_a_flood_of_findings_is_one_event(furnished: Firm) -> None:
    furnished.publisher.publish()
    follower = Follower(furnished)
    await follower.take()
    for n in range(500):
        furnished.finding(f"h-{n}")
    furnished.publisher.publish()
    first = (await follower.take())[0]
    assert (first.name, first.body) == ("findings", {"changed": 500})
    await follower.close()


async def test_a_source_that_turns_stale_turns_its_kpis(furnished: Firm) -> None:
    furnished.publisher.publish()
    follower = Follower(furnished)
    await follower.take()
    furnished.source("SCHED/main", behind_us=20 * MINUTE, state="STALE")
    furnished.publisher.publish()
    turned = {
        event.body["id"]: event.body["freshness"]["state"] for event in await follower.take() if event.name == "kpi"
    }
    assert turned["unsynchronised_assignments"] == "STALE"
    assert "unbilled_hours" not in turned
    await follower.close()


async def test_nothing_is_told_before_the_topics_are_read(furnished: Firm) -> None:
    furnished.live.ready.clear()
    furnished.publisher.publish()
    assert furnished.hub.last_id == "abc-0"
    furnished.live.ready.set()
    furnished.publisher.publish()
    assert furnished.hub.last_id != "abc-0"


async def test_silence_is_broken_by_comments() -> None:
    stream = Hub(1).follow(None, lambda: (), heartbeat_s=0.01)
    assert await anext(stream) == b"retry: 3000\n\n"
    assert [await anext(stream) for _ in range(3)] == [b": keep-alive\n\n"] * 3
    await stream.aclose()


async def test_closing_ends_every_stream(furnished: Firm) -> None:
    follower = Follower(furnished)
    await follower.take()
    furnished.hub.close()
    assert await asyncio.wait_for(follower.take(), 1) == []


async def test_over_http(furnished: Firm) -> None:
    furnished.publisher.publish()
    furnished.hub.publish([("kpi", "unbilled_hours", b'{"id":"unbilled_hours"}')])
    last = furnished.hub.last_id
    before = f"abc-{int(last.partition('-')[2]) - 1}"
    app = furnished.app()
    app.openapi()  # made at the first request otherwise, which takes a while
    async with http(app) as client:
        asyncio.get_running_loop().call_later(0.5, furnished.hub.close)
        response = await client.get("/v1/stream", headers={"Last-Event-ID": before})
    assert response.headers["content-type"].startswith("text/event-stream")
    assert (response.headers["x-accel-buffering"], response.headers["cache-control"]) == ("no", "no-store")
    assert response.text == f'retry: 3000\n\nid: {last}\nevent: kpi\ndata: {{"id":"unbilled_hours"}}\n\n'


async def test_no_more_followers_than_a_process_bears(furnished: Firm, client: httpx.AsyncClient) -> None:
    furnished.hub.followers = FOLLOWERS_MAX
    answer = await client.get("/v1/stream")
    assert (answer.status_code, answer.json()["type"]) == (503, "/docs#problem-too-many-streams")
    assert answer.headers["Retry-After"] == "60"


async def test_a_follower_that_leaves_makes_room(furnished: Firm) -> None:
    furnished.publisher.publish()
    parts = cast(Services, SimpleNamespace(hub=furnished.hub, publisher=furnished.publisher))
    follower = _follow(parts, None, None)
    await anext(follower)
    assert furnished.hub.followers == 1
    await follower.aclose()  # type: ignore[attr-defined]  # it is a generator
    assert furnished.hub.followers == 0
