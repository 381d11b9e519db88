"""The SQLite backend. One writer thread owns the only writing connection; everything else opens read-only."""
