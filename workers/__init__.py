"""The worker process: supervisor, dispatcher, arq jobs."""
