"""NATS JetStream: the log, records, keys, dead letters, and the broker as a child process."""
