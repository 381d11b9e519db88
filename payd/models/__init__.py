"""The nouns: frozen records. No clock, no randomness, no SQL, no HTTP. Tables and columns: ``models/README.md``."""
