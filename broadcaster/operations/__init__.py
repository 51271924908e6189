"""Every act of a person or a key, with its audit entry; the command line and the API call the same."""
