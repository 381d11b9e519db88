"""The verbs: pure functions that turn (what is, what happened, now) into a value that says what to write.

No await, no clock, no randomness, no SQL, no HTTP: everything comes in as an argument.
"""
