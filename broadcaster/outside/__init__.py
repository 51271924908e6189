"""Requests to addresses that somebody else named: to public ones only, whatever a name or an answer says."""
