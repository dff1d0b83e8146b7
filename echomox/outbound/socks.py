"""A connection through a SOCKS5 proxy: RFC 1928, with the login of RFC 1929. The target is an address, not a name:
which host a mail goes to is known before, with DNSSEC and policies."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

_REPLIES = (
    "", "general failure", "not allowed by the proxy's rules", "network unreachable", "host unreachable",
    "connection refused", "time to live expired", "command not supported", "address type not supported",
)  # fmt: skip
_ADDRESS = {1: 4, 4: 16}


class SocksError(OSError):
    """strerror is the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(0, f"SOCKS proxy: {reason}")


async def connect(proxy: tuple[str, int], target: tuple[str, int], login: tuple[str, str] | None) -> socket.socket:
    """A connected socket, non-blocking. proxy: address and port. Raises OSError; cancel it to bound its time."""
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in proxy[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        await loop.sock_connect(sock, proxy)
        await _negotiate(sock, target, login)
    except BaseException:
        sock.close()
        raise
    return sock


async def _negotiate(sock: socket.socket, target: tuple[str, int], login: tuple[str, str] | None) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, b"\x05\x02\x00\x02" if login else b"\x05\x01\x00")
    version, method = await _exactly(sock, 2)
    if version != 5 or method not in ((0, 2) if login else (0,)):
        raise SocksError("it wants a login that we do not have" if version == 5 else "it does not speak SOCKS5")
    if method == 2 and login:
        user, password = (text.encode()[:255] for text in login)
        await loop.sock_sendall(sock, b"\x01%c%s%c%s" % (len(user), user, len(password), password))
        if (await _exactly(sock, 2))[1]:
            raise SocksError("the login was refused")
    address = ipaddress.ip_address(target[0])
    kind = b"\x01" if address.version == 4 else b"\x04"
    await loop.sock_sendall(sock, b"\x05\x01\x00" + kind + address.packed + target[1].to_bytes(2, "big"))
    _, reply, _, kind_bound = await _exactly(sock, 4)
    if reply:
        raise SocksError(_REPLIES[reply] if reply < len(_REPLIES) else f"reply {reply}")
    size = _ADDRESS[kind_bound] if kind_bound in _ADDRESS else (await _exactly(sock, 1))[0]
    await _exactly(sock, size + 2)


async def _exactly(sock: socket.socket, size: int) -> bytes:
    """Not a byte more, for what follows is SMTP."""
    data = b""
    while len(data) < size:
        piece = await asyncio.get_running_loop().sock_recv(sock, size - len(data))
        if not piece:
            raise SocksError("it closed the connection")
        data += piece
    return data
