"""Broadcaster: a recipient list goes in, every recipient gets the message once."""

__version__ = "0.1.0"
