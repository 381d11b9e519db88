"""payd: a self-contained WeChat Pay API v3 payment daemon for small merchants.

The map of the program, its ranks and its decisions are in ``payd/README.md``.
"""

__version__ = "0.1.0"
