"""The HTTP surface: routes, bodies, problems, keys, controllers. Nothing here decides about money."""
