"""Server-sent events: one ring of recent events, read by any number of followers at their own pace.

An event's id is `<epoch>-<number>`. A follower that comes back with the id of the last event it saw gets what came
since; if the ring no longer has it, or another process gave it, it gets `reset` and starts from the values again.
A slow follower costs nothing: it reads from the ring and is reset when the ring has passed it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import Final, NamedTuple

HEARTBEAT_S: Final = 15.0
RETRY_MS: Final = 3_000
_KEPT: Final = 4_096
FOLLOWERS_MAX: Final = 1_000  # one process, each a socket and an answer in the making

HEARTBEAT: Final = b": keep-alive\n\n"


class Event(NamedTuple):
    """One event; `subject` is what a follower can ask for, e.g. a KPI's id, and '' is for everyone."""

    number: int
    name: str
    subject: str
    data: bytes


class Hub:
    """The ring; all its methods belong to the event loop's thread."""

    def __init__(self, epoch: int, *, kept: int = _KEPT) -> None:
        self._epoch = f"{epoch:x}"
        self._ring: deque[Event] = deque(maxlen=kept)
        self._last = 0
        self._wake = asyncio.Event()
        self._closed = False
        self.followers = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def last_id(self) -> str:
        """Id of the newest event."""
        return self._id(self._last)

    def publish(self, events: Iterable[tuple[str, str, bytes]]) -> None:
        """Append (name, subject, data) and wake the followers."""
        for name, subject, data in events:
            self._last += 1
            self._ring.append(Event(self._last, name, subject, data))
        self._rouse()

    def close(self) -> None:
        """End every stream, so that the server can stop."""
        self._closed = True
        self._rouse()

    def close_from_signal(self) -> None:
        """`close` from a signal handler: the followers are woken by the loop, at the latest with a heartbeat."""
        self._closed = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._rouse)

    async def follow(
        self,
        last_event_id: str | None,
        first: Callable[[], Iterable[tuple[str, bytes]]],
        wants: Callable[[Event], bool] = lambda _event: True,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> AsyncGenerator[bytes, None]:
        """The stream of one follower: `first` gives the values to start from when there is nothing to resume."""
        self._loop = asyncio.get_running_loop()
        yield b"retry: %d\n\n" % RETRY_MS
        seen = self._seen(last_event_id)
        while not self._closed:
            if seen is None or self._passed(seen):
                if last_event_id:
                    yield self._wire("reset", self._last, b"{}")
                seen = self._last
                for name, data in first():
                    yield self._wire(name, seen, data)
            wake = self._wake
            for event in self._since(seen):
                seen = event.number
                if wants(event):
                    yield self._wire(event.name, event.number, event.data)
            last_event_id = self._id(seen)
            if seen < self._last or wake is not self._wake:
                continue
            try:
                await asyncio.wait_for(wake.wait(), heartbeat_s)
            except TimeoutError:
                yield HEARTBEAT

    def _rouse(self) -> None:
        wake, self._wake = self._wake, asyncio.Event()
        wake.set()

    def _since(self, seen: int) -> list[Event]:
        if not self._ring:
            return []
        skip = seen + 1 - self._ring[0].number
        return [event for index, event in enumerate(self._ring) if index >= skip]

    def _passed(self, seen: int) -> bool:
        """Whether an event after `seen` is no longer kept."""
        return bool(self._ring) and self._ring[0].number > seen + 1

    def _seen(self, last_event_id: str | None) -> int | None:
        epoch, _, number = (last_event_id or "").partition("-")
        if epoch != self._epoch or not (number.isascii() and number.isdigit()) or int(number) > self._last:
            return None
        return int(number)

    def _id(self, number: int) -> str:
        return f"{self._epoch}-{number}"

    def _wire(self, name: str, number: int, data: bytes) -> bytes:
        return b"id: %s\nevent: %s\ndata: %s\n\n" % (self._id(number).encode(), name.encode(), data)
