"""What Twilio calls: status callbacks, and replies. Each request is signed by Twilio, or changes nothing.

Raw ASGI in front of the framework, as there may be a few for every message that is sent.
"""
