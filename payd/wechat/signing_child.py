"""The signing process: reads a private key, then texts, from one socket and answers each with its signature.

Started by `signatures.Signatures` as a program of its own; imports nothing of payd's, so that it is small and there at
once. Each message of the socket (``SOCK_SEQPACKET``) is one text or one signature, in the same order. It ends with the
socket's other end, however that ended; a signal to the whole group is the daemon's business, which still signs while it
drains.
"""

from __future__ import annotations

import signal
import socket
import sys

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key

#: The longest text; what is longer is signed elsewhere. A fifth of what a socket's buffer holds.
TEXT_BYTES_MAX = 40_960
#: Said once, when texts can be sent.
READY = b"ready"


def main(file_number: int) -> None:
    """Answer until nobody is at the other end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=file_number) as wire:
        key = load_der_private_key(wire.recv(TEXT_BYTES_MAX), None)
        assert isinstance(key, RSAPrivateKey), "the merchant's key is one"
        padding, digest = PKCS1v15(), SHA256()
        wire.send(READY)
        while text := wire.recv(TEXT_BYTES_MAX):
            wire.send(key.sign(text, padding, digest))


if __name__ == "__main__":
    try:
        main(int(sys.argv[1]))
    except OSError:  # the other end went in the middle: there is nobody to be told
        sys.exit(0)
