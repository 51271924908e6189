"""Redis: connection, embedded server, key names, scripts."""
