"""Whole journeys: a real payd process, its simulator, real HTTP, SQLite on disk."""
