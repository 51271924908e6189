"""The typed client, error codes and what a failure proves."""
