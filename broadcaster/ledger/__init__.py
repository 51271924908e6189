"""One outcome per recipient: record, retry, doubt, dead letters."""
