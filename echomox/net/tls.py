"""TLS of the servers: one context per process, and how a connection's TLS is written down.

RFC 8996 (nothing below 1.2), RFC 9325 4.2 (AEAD and forward secrecy only); RFC 3207 and 8314 for where it
is used. `server_context` remembers what it made for the same files and settings: called by the supervisor
before it forks, all workers share one context and so one set of session ticket keys; a file that has
changed since makes a new one. It does not renew certificates, and knows one certificate per context.
"""

from __future__ import annotations

import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any

from echomox.config.schema import Tls
from echomox.errors import ConfigError

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aNULL:!PSK"
MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def server_context(tls: Tls, base: Path | None = None) -> ssl.SSLContext | None:
    """The context that servers use; None when no certificate is configured.

    base: directory that relative file names start from (the configuration directory).
    Raises ConfigError naming the file that cannot be read or used.
    """
    if not tls.certificate:
        return None
    certificate = _path(tls.certificate, base)
    key = _path(tls.key or tls.certificate, base)
    made = _made(certificate, key, tls.minimum)
    try:
        stamps = certificate.stat().st_mtime_ns, key.stat().st_mtime_ns
        if made.get("stamps") != stamps:
            made.update(context=_load(certificate, key, tls.minimum), stamps=stamps)
    except PermissionError as error:
        # A key of root's that was renewed: the supervisor reads it at the next reload; until then the old one serves.
        if "context" not in made:
            raise ConfigError(f"tls: {certificate} with key {key} cannot be read: {error.strerror}") from error
    except (OSError, ssl.SSLError) as error:
        trouble = error.strerror or str(error)
        raise ConfigError(f"tls: {certificate} with key {key} cannot be used: {trouble}") from error
    context: ssl.SSLContext = made["context"]
    return context


def _path(name: str, base: Path | None) -> Path:
    return base / name if base is not None else Path(name)


@lru_cache(maxsize=8)
def _made(certificate: Path, key: Path, minimum: str) -> dict[str, Any]:
    """What was made for these files and settings: "context", and the modification times "stamps" it was made for."""
    del certificate, key, minimum
    return {}


def _load(certificate: Path, key: Path, minimum: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.minimum_version = MINIMUM[minimum]
    context.set_ciphers(CIPHERS)
    # RFC 9325 3.3 and 3.5: no compression, no renegotiation.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.verify_mode = ssl.CERT_NONE
    return context


def describe(connection: ssl.SSLObject | ssl.SSLSocket | None) -> str:
    """As "TLSv1.3 TLS_AES_256_GCM_SHA384": version and cipher for Received and logs; "" without TLS."""
    if connection is None:
        return ""
    cipher = connection.cipher()
    return f"{connection.version()} {cipher[0]}" if cipher else str(connection.version() or "")
