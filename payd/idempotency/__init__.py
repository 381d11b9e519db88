"""The optional lock in front of the database. Nothing here decides anything: the database stays the truth."""
