"""A faithful fake Twilio for the demo, the tests and load."""
