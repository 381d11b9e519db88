"""The use cases: load, decide, commit, act. No HTTP and no SQL here, only the ports."""
