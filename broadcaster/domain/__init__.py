"""Values and rules. No I/O: everything here is decided from its arguments."""
