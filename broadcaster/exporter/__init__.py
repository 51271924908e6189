"""The exporter: one process that shows Prometheus what is in Redis."""
