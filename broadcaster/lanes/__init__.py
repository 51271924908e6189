"""Flows, fair order, permits, pauses, claims and the gate."""
