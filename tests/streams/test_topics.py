"""Topics: names, what each must look like, and a cluster brought there by plan and apply."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from brokers import KafkaCluster
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from tieout.reconcilers.entities import Axis
from tieout.reconcilers.outcomes import Output
from tieout.streams import topics
from tieout.streams.embedded import EmbeddedBroker
from tieout.streams.settings import Settings
from tieout.streams.topics import Step, Topic, TopicsRefused, apply, desired, plan

SETTINGS = Settings.model_validate({"kafka": {"partitions": 3}})


@pytest.fixture
def admin(kafka: KafkaCluster) -> Any:
    return AdminClient({"bootstrap.servers": kafka.bootstrap, "log_level": 0})


def test_a_broker_that_does_not_know_a_new_topic_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several brokers, one answers what there is and another how it is configured, a moment behind."""
    answers = [KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)), []]

    def later(*_: Any) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(topics, "plan", later)
    topics._until_seen(AdminClient({"log_level": 0}), [])
    assert answers == []


def test_another_error_while_waiting_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not being allowed to ask does not pass by itself."""

    def refused(*_: Any) -> Any:
        raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))

    monkeypatch.setattr(topics, "plan", refused)
    with pytest.raises(KafkaException):
        topics._until_seen(AdminClient({"log_level": 0}), [])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (topics.changes_topic(Axis.CONTROL), "tieout.changes.control.v1"),
        (topics.output_topic(Output.FINDING_STATE), "tieout.finding.state.v1"),
        (topics.output_topic(Output.BILLING_DECISION), "tieout.billing_decision.events.v1"),
        (topics.table_topic("rates"), "tieout.tables.rates.v1"),
        (topics.table_topic("rates", Axis.CONTROL), "tieout.tables.control_rates.v1"),
    ],
)
def test_names_are_those_of_the_contract(name: str, expected: str) -> None:
    """Consumers outside rely on these names."""
    assert name == expected


def test_state_is_compacted_and_events_are_kept() -> None:
    """A `.state` topic and a changelog forget old versions, an `.events` topic and the audit forget nothing."""
    for topic in desired(SETTINGS, ["rates"]):
        policy = topic.config["cleanup.policy"]
        if ".state." in topic.name or ".tables." in topic.name or topic.name in (topics.XREF, topics.PARKED):
            assert policy == "compact", topic.name
        elif ".events." in topic.name or topic.name in (topics.AUDIT, topics.COMMAND):
            assert (policy, topic.config["retention.ms"]) == ("delete", "-1"), topic.name
        else:
            assert (policy, topic.config["retention.ms"] != "-1") == ("delete", True), topic.name


def test_changelogs_lie_beside_their_axis() -> None:
    """A table's changelog has as many partitions as the frames that feed it."""
    wide = {topic.name: topic.partitions for topic in desired(SETTINGS, ["rates"])}
    assert wide["tieout.tables.rates.v1"] == wide["tieout.changes.project.v1"] == 3
    assert wide["tieout.tables.control_rates.v1"] == wide["tieout.changes.control.v1"] == 1


@pytest.mark.kafka
def test_apply_makes_what_plan_names_and_then_there_is_nothing_left(admin: Any) -> None:
    """From an empty cluster to the plan in one apply; a second plan is empty."""
    wanted = desired(SETTINGS, ["rates"])
    first = plan(admin, wanted)
    assert {difference.step for difference in first} == {Step.CREATE}
    assert [difference.topic.name for difference in first] == [topic.name for topic in wanted]
    apply(admin, first)
    assert plan(admin, wanted) == []


@pytest.mark.kafka
def test_a_setting_that_differs_is_named_and_set(admin: Any) -> None:
    """A topic that somebody made by hand gets our clean-up policy, the rest of its settings stay."""
    wanted = Topic("tieout.made.v1", 2, 1, {"cleanup.policy": "compact"})
    by_hand = dataclasses.replace(wanted, config={"cleanup.policy": "delete", "retention.ms": "5000"})
    apply(admin, plan(admin, [by_hand]))
    (difference,) = plan(admin, [wanted])
    assert str(difference) == "configure tieout.made.v1: found cleanup.policy=delete, expected cleanup.policy=compact"
    apply(admin, [difference])
    assert plan(admin, [wanted]) == plan(admin, [dataclasses.replace(wanted, config={"retention.ms": "5000"})]) == []


@pytest.mark.kafka
@pytest.mark.parametrize("other", [1, 3])
def test_another_number_of_partitions_is_refused_and_nothing_is_changed(admin: Any, other: int) -> None:
    """Neither fewer nor more: keys would leave their state behind. The other steps of the plan wait too."""
    apply(admin, plan(admin, [Topic("tieout.made.v1", 2)]))
    wanted = [Topic("tieout.made.v1", other), Topic("tieout.other.v1", 1)]
    with pytest.raises(TopicsRefused, match=f"found 2 partitions, expected {other} partition"):
        apply(admin, plan(admin, wanted))
    assert "tieout.other.v1" not in admin.list_topics(timeout=10).topics


def test_on_the_embedded_broker_only_partitions_are_compared(embedded: EmbeddedBroker) -> None:
    """It keeps no settings: a topic of the right width is as it must be, and the question does not time out."""
    wanted = Topic("tieout.made.v1", 3, 1, {"cleanup.policy": "compact"})
    embedded.create("tieout.made.v1", 3)
    admin = AdminClient({"bootstrap.servers": embedded.bootstrap, "log_level": 0})
    assert plan(admin, [wanted]) == []
    assert [difference.step for difference in plan(admin, [dataclasses.replace(wanted, partitions=4)])] == [Step.REFUSE]
