"""Structured logs, metrics and events."""
