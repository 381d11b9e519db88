"""The operator's terminal dashboard for payd: a separate program that speaks only HTTP to the daemon."""
