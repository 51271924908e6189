"""The `broadcaster` command."""
