"""The HTTP API: what other services and people reach over the network."""
