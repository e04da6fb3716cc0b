"""Kafka Connect: the connectors that feed the raw topics, from the configuration to a worker that runs them."""
