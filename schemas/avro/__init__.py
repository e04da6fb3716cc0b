"""One Avro record per file; values of the output topics."""
