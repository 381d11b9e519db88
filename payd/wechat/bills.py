"""Fetching a bill's file: where it may come from, streaming it to disk, gunzipping it, checking its SHA-1.

The file carries no signature; what makes it trustworthy is the hash in the signed offer. GZIP is the FILE's format, not
HTTP's, and the hash is over the plain content, byte order mark included. A stale token or a wrong hash is answered with
`Unclear`: the caller applies again. Source: WeChat Pay v3, "download bill".
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlsplit

from payd.config import is_loopback
from payd.limits import BILL_DOWNLOAD_SECONDS_MAX, BILL_PLAIN_BYTES_MAX
from payd.models.wechat import BillOffer, Unclear
from payd.wechat.answers import read_error, request_id_of
from payd.wechat.http_answer import HttpAnswer, TransportFailure
from payd.wechat.members import Malformed, text
from payd.wechat.signing import RequestSigner
from payd.wechat.transport import Transport

HASH_TYPE: Final = "SHA1"
#: Domains under which WeChat Pay serves its API and files.
WECHAT_DOMAINS: Final = (".weixin.qq.com", ".wechatpay.cn", ".tenpay.com")
#: JSON alone might be refused for a file; what every SDK sends, and errors come as JSON.
ACCEPT_FILES: Final = "application/json, text/plain, application/x-gzip, application/octet-stream, */*"

_GZIP_MAGIC: Final = b"\x1f\x8b"
_PIECE_BYTES: Final = 262_144
_ERROR_BYTES_MAX: Final = 65_536


class BillDamaged(Exception):
    """The file is not what the offer promised, or cannot be kept."""


def read_offer(members: Mapping[str, object], request_id: str | None) -> BillOffer:
    """Read a verified answer to a bill application. Raises Malformed."""
    offer = BillOffer(
        download_url=text(members, "download_url"),
        hash_type=text(members, "hash_type"),
        hash_value=text(members, "hash_value").lower(),
        request_id=request_id,
    )
    if offer.hash_type != HASH_TYPE:
        raise Malformed("the bill's hash is not SHA1")
    return offer


def check_download_url(url: str, bases: tuple[str, ...]) -> None:
    """Refuse an address that is not WeChat's: the request is signed. Talking to a loopback host: loopback only.

    Raises BillDamaged.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    configured = {urlsplit(base).hostname for base in bases}
    if any(is_loopback(name or "") for name in configured):
        allowed = parts.scheme in ("http", "https") and is_loopback(host)
    else:
        allowed = parts.scheme == "https" and (host in configured or host.endswith(WECHAT_DOMAINS))
    if not allowed or parts.username or parts.fragment:
        raise BillDamaged(f"download_url names {host or 'no host'}, which is not a host of WeChat's")


class BillDownloader:
    """Downloads one bill at a time into a target file that appears whole or not at all."""

    def __init__(
        self, *, transport: Transport, signer: RequestSigner, bases: tuple[str, ...], executor: Executor
    ) -> None:
        self._transport = transport
        self._signer = signer
        self._bases = bases
        self._executor = executor

    async def download(self, offer: BillOffer, target: Path) -> Unclear | None:
        """Stream, unpack, check and rename; None when ``target`` is whole and right. Leaves no other file behind."""
        packed, plain = (target.with_name(f".{target.name}.{suffix}") for suffix in ("packed", "plain"))
        try:
            check_download_url(offer.download_url, self._bases)
            target.parent.mkdir(parents=True, exist_ok=True)
            with packed.open("wb") as file:
                answer = await self._stream(offer.download_url, file)
            if answer.status != 200:
                return _refusal(answer, packed)
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._executor, _unpack, packed, plain, offer.hash_value)
            plain.replace(target)
        except TransportFailure as failure:
            return Unclear(reason=failure.reason, message=str(failure))
        except BillDamaged as damage:
            return Unclear(reason="malformed", message=str(damage))
        except OSError as exc:
            return Unclear(reason="malformed", message=f"the bill cannot be written: {exc.strerror}")
        finally:
            for leftover in (packed, plain):
                with contextlib.suppress(OSError):  # gone already, or the folder itself is the trouble
                    leftover.unlink()
        return None

    async def _stream(self, url: str, file: BinaryIO) -> HttpAnswer:
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {
            "Accept": ACCEPT_FILES,
            "Authorization": await self._signer.authorize(method="GET", target=target, body=b""),
        }
        trouble: list[OSError] = []

        def write(piece: bytes) -> None:
            try:
                file.write(piece)
            except OSError as exc:  # curl cannot carry it: remember it and let the transfer run out
                trouble.append(exc)
            except ValueError:  # the file is closed: whoever wanted it has gone, and the rest runs into nothing
                return

        answer = await self._transport.download(url, headers=headers, write=write, seconds=BILL_DOWNLOAD_SECONDS_MAX)
        if trouble:
            raise trouble[0]
        return answer


def _refusal(answer: HttpAnswer, packed: Path) -> Unclear:
    with packed.open("rb") as file:
        error = read_error(file.read(_ERROR_BYTES_MAX))
    return Unclear(
        reason="status",
        status=answer.status,
        code=error.code,
        message=error.message,
        request_id=request_id_of(answer.headers),
    )


def _unpack(packed: Path, plain: Path, expected_hash: str) -> None:
    """Write the plain content durably and compare its SHA-1. Raises BillDamaged. Runs off the loop."""
    digest = hashlib.sha1(usedforsecurity=False)
    size = 0
    with packed.open("rb") as source, plain.open("wb") as sink:
        for piece in _plain_pieces(source):
            size += len(piece)
            if size > BILL_PLAIN_BYTES_MAX:
                raise BillDamaged("the unpacked bill is too large")
            digest.update(piece)
            sink.write(piece)
        sink.flush()
        os.fsync(sink.fileno())
    if digest.hexdigest() != expected_hash:
        raise BillDamaged("the bill's SHA-1 is not the one WeChat announced")


def _plain_pieces(source: BinaryIO) -> Iterator[bytes]:
    """Yield the content, gunzipped when the file is a gzip file. Pieces are small whatever the compression ratio."""
    head = source.read(len(_GZIP_MAGIC))
    source.seek(0)
    if head != _GZIP_MAGIC:
        while piece := source.read(_PIECE_BYTES):
            yield piece
        return
    unzip = zlib.decompressobj(wbits=31)  # 31: gzip header and checksum
    try:
        while piece := source.read(_PIECE_BYTES):
            while piece:
                yield unzip.decompress(piece, _PIECE_BYTES)
                piece = unzip.unconsumed_tail
        if not unzip.eof:
            raise BillDamaged("the gzip file is cut short")
    except zlib.error as exc:
        raise BillDamaged("the gzip file is damaged") from exc
