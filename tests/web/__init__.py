"""The HTTP surface: routes, bodies, problems, keys, and the whole API under fuzz."""
