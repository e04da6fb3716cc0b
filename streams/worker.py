"""The worker process: Faust agents over checkpointed tables. SIGTERM ends it cleanly with 0."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any, Final

import faust
import mode.loop
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tieout.reconcilers.outcomes import Output
from tieout.streams import collector
from tieout.streams.agents import Agents, WorkerApp
from tieout.streams.checkpoint import Checkpointer, Outputs
from tieout.streams.clock import monotonic_s
from tieout.streams.dependencies import BrokerWatch, expect
from tieout.streams.downstream import Downstream
from tieout.streams.handover import EXIT_AGAIN, Handover, end_process
from tieout.streams.metrics import gauge
from tieout.streams.ops import Answer, Heartbeat, OpsServer
from tieout.streams.outputs import encoders
from tieout.streams.pressure import RecordsLost
from tieout.streams.settings import Settings
from tieout.streams.shards import Reconciler
from tieout.streams.topics import AXES, LEDGER, changes_topic, output_topic, table_topic

log = logging.getLogger(__name__)

EXIT_FAILED: Final = 1
EXIT_CONFIGURATION: Final = 3
EXIT_UNREACHABLE: Final = 4
PINNED: Final = {"faust-streaming": "0.15.3", "mode-streaming": "0.7.1", "aiokafka": "0.14.0"}
_STOP_S: Final = 15.0  # then the process ends whatever hangs: supervisors kill after 20
_STOP_EMPTY_S: Final = 5.0  # of one that holds no place: Faust does not always stop while it is starting
_BEAT_S: Final = 1.0
_HUNG_S: Final = 30.0
_MISSING_S: Final = 60.0  # a place that is ours and that nobody restores
_FRAMES_QUEUED: Final = 32  # up to 256 KiB each
_BROKER_S: Final = 15.0
# The checkpoint's and the consumer's threads take the interpreter from a frame that is being applied this much later,
# by default after 5 ms: a checkpoint is then cut into slices that each find the processor's caches cold.
_SWITCH_S: Final = 0.02


class StartError(Exception):
    """This process must not start; the message says what to do, `code` is its exit code."""

    def __init__(self, message: str, code: int = EXIT_UNREACHABLE) -> None:
        super().__init__(message)
        self.code = code


def run(settings: Settings, reconciler: Reconciler | None = None, *, sink: bool = True) -> int:
    """Run until SIGTERM; returns the exit code. Ends the process with 70 where a restart is the remedy.

    `sink` False: nobody reads the outputs, and on the embedded broker they may be forgotten.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # until the loop takes over: nothing is held yet
    try:
        check_packages()
        reconciler = reconciler or engine(settings)
        ids = output_ids(settings)
        check_topics(settings, reconciler.tables)
    except StartError as error:
        log.critical("%s", error)
        return error.code
    mode.loop.use("uvloop")
    collector.calm()
    sys.setswitchinterval(_SWITCH_S)
    with OpsServer(settings.ops, "worker") as ops, asyncio.Runner() as runner:
        return runner.run(_Worker(settings, reconciler, ops, ids, sink=sink).serve())


def engine(settings: Settings) -> Reconciler:
    """The reconcilers with the policy of the settings; StartError when the policy is not valid."""
    from tieout.reconcilers.engine import TABLES, State, apply, settle
    from tieout.reconcilers.policy import Policy, PolicyError

    try:
        policy = Policy.from_mapping(settings.policy)
    except PolicyError as error:
        raise StartError(f"[policy] is not valid: {error}", EXIT_CONFIGURATION) from error
    return Reconciler(lambda axis, number, count: State(axis, number, count, policy), apply, settle, TABLES)


def output_ids(settings: Settings) -> Mapping[Output, int] | None:
    """The schema ids that outputs carry, None for our own; StartError when the registry is away, or has not all."""
    if not settings.registry.outputs:
        return None
    from tieout.codecs.errors import SchemasUnreachable
    from tieout.streams.schema_check import NotRegistered, registered_ids

    try:
        return registered_ids(settings)
    except SchemasUnreachable as error:
        raise StartError(f"{error}: registry.outputs needs it at the start") from error
    except NotRegistered as error:
        raise StartError(str(error), EXIT_CONFIGURATION) from error


def check_packages() -> None:
    """StartError unless Faust is exactly what the worker was proven with: it relies on its internals."""
    for package, wanted in PINNED.items():
        if (found := version(package)) != wanted:
            message = f"{package} is {found}, expected {wanted}: install requirements.txt"
            raise StartError(message, EXIT_FAILED)
    if getattr(faust.streams, "_CStreamIterator", None) is None:
        message = "Faust's compiled stream iterator is missing (NO_CYTHON?): the other one acknowledges what it skips"
        raise StartError(message, EXIT_FAILED)
    faust.serializers.codecs.codecs.pop("pickle", None)  # it would run code that a message brings
    faust.serializers.codecs.get_codec("raw")  # the first look-up reads every installed package's metadata


def check_topics(settings: Settings, tables: tuple[str, ...]) -> None:
    """StartError unless the topics exist and are cut alike: tables must lie beside their frames."""
    try:
        found = AdminClient(settings.kafka_client()).list_topics(timeout=_BROKER_S).topics
    except KafkaException as error:
        servers = settings.kafka.client["bootstrap.servers"]
        raise StartError(f"no broker answers at {servers}: {error.args[0].str()}") from error
    for axis in AXES:
        wanted = 1 if axis.value == "control" else settings.kafka.partitions
        for topic in (changes_topic(axis), *(table_topic(table, axis) for table in (LEDGER, *tables))):
            count = len(found[topic].partitions) if topic in found else 0
            if count != wanted:
                raise StartError(f"{topic} has {count} partitions, expected {wanted}: run `tieout topics apply`")
    if missing := [topic for topic in map(output_topic, Output) if topic not in found]:
        raise StartError(f"{', '.join(missing)} missing: run `tieout topics apply`")


def faust_app(settings: Settings) -> WorkerApp:
    """The Faust app, with everything off that the worker does itself."""
    client = settings.kafka.client
    session_s = int(client.get("session.timeout.ms", 45_000)) / 1_000
    app = WorkerApp(
        settings.group("worker"),
        broker=settings.faust_broker(),
        broker_credentials=settings.faust_credentials(),
        broker_client_id="tieout-worker",
        broker_session_timeout=session_s,
        broker_heartbeat_interval=min(3.0, session_s / 4),
        broker_commit_interval=1.0,
        broker_max_poll_records=_FRAMES_QUEUED,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=client.get("group.instance.id"),
        processing_guarantee="at_least_once",
        store="memory://",
        stream_buffer_maxsize=_FRAMES_QUEUED,
        stream_recovery_delay=0,
        stream_wait_empty=False,
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )
    app.boot_strategy.enable_web = False
    return app


class _Worker:
    """One run of the worker on one loop."""

    def __init__(self, settings: Settings, reconciler: Reconciler, ops: OpsServer, ids: Mapping[Output, int] | None,
                 *, sink: bool) -> None:
        self._settings = settings
        self._sink = sink
        self._ids = ids
        self._reconciler = reconciler
        self._heartbeat = Heartbeat(within_s=_HUNG_S)
        self._handover: Handover | None = None
        ops.check("loop", self._heartbeat, "live")
        ops.check("places", self._places)

    async def serve(self) -> int:
        checkpointer = Checkpointer(self._settings.checkpoint)
        downstream = Downstream.of(self._settings) if self._sink else None
        outputs = Outputs(encoders(self._ids), downstream.on_delivery if downstream else None)
        handover = self._handover = Handover(self._settings, self._reconciler, checkpointer, outputs)
        app = faust_app(self._settings)
        Agents(app, checkpointer, handover, downstream)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        expect("worker")
        BrokerWatch(self._settings).start()
        jobs = [app.start(), checkpointer.run(), handover.snapshots(), self._watch(app, handover)]
        tasks = [asyncio.create_task(job) for job in ([*jobs, downstream.run()] if downstream else jobs)]
        for task in tasks:
            task.add_done_callback(_end_on_error)
        await stop.wait()
        handover.abandon()
        await _stop(app, tasks, holding=bool(checkpointer.held))
        if handover.busy:  # it holds nothing, and what it waits for may take longer than a supervisor does
            log.info("stopped while restoring")
            logging.shutdown()
            os._exit(0)
        log.info("stopped")
        return 0

    async def _watch(self, app: WorkerApp, handover: Handover) -> None:
        """Measure the loop, and end the process when Faust has given up or a place stays without its shard."""
        while True:
            due_s = monotonic_s() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            gauge("tieout_event_loop_lag_seconds").set(max(0.0, monotonic_s() - due_s))
            self._heartbeat.beat()
            if app.crashed:
                end_process("Faust crashed", app.crash_reason)
            if handover.missing_for_s() > _MISSING_S and handover.assigned:
                end_process(f"no restore got on for {_MISSING_S:.0f} s: {', '.join(map(str, handover.missing))}")

    def _places(self) -> Answer:
        handover = self._handover
        if handover is None or not handover.assigned:
            return Answer(False, "nothing is assigned yet")
        missing = handover.missing
        if not missing:
            return Answer(True, "all restored")
        return Answer(False, f"restoring {handover.progress() or ', '.join(map(str, missing))}")


async def _stop(app: WorkerApp, tasks: list[asyncio.Task[Any]], *, holding: bool) -> None:
    after_s, code = (_STOP_S, EXIT_AGAIN) if holding else (_STOP_EMPTY_S, 0)  # nothing held is nothing unwritten
    last_resort = threading.Timer(after_s, _give_up, [after_s, code, asyncio.get_running_loop()])
    last_resort.daemon = True
    last_resort.start()
    for task in tasks:
        task.remove_done_callback(_end_on_error)
        task.cancel()
    await app.stop()
    await asyncio.gather(*tasks, return_exceptions=True)
    last_resort.cancel()


def _give_up(after_s: float, code: int, loop: asyncio.AbstractEventLoop) -> None:
    """End the process although something hangs, and say what. From a thread: the loop may be what hangs."""
    log.critical("not stopped within %.0f s; ending with %d: what is not written is applied again. Waiting: %s",
                 after_s, code, "; ".join(sorted({" > ".join(_awaited(task)) for task in asyncio.all_tasks(loop)})))
    logging.shutdown()
    os._exit(code)


def _awaited(task: asyncio.Task[Any]) -> Iterator[str]:
    """The coroutines of a task, from the outermost to the one in which it waits."""
    coroutine: Any = task.get_coro()
    while coroutine is not None:
        if name := getattr(coroutine, "__qualname__", None):
            yield name
        coroutine = getattr(coroutine, "cr_await", None)


def _end_on_error(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        end_process(str(error) or repr(error), error, EXIT_FAILED if isinstance(error, RecordsLost) else EXIT_AGAIN)
