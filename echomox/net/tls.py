"""TLS of the servers: contexts, certificates by name, and what a connection's TLS says of both ends.

RFC 8996 (nothing below 1.2), RFC 9325 4.2 (AEAD and forward secrecy only), RFC 6066 3 (SNI); RFC 3207 and 8314 for
where it is used; RFC 5929 4 (tls-server-end-point) and client certificates for logins. `server_context` remembers what
it made for the same files and settings: called by the supervisor before it forks, all workers share one context and so
one set of session ticket keys; a file that has changed since makes a new one. It does not renew certificates.

A client's certificate is asked for where users log in only: other mail servers, too, present certificates, of which we
could not verify most, and OpenSSL ends a handshake over that.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from echomox.config.schema import Tls
from echomox.errors import ConfigError

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aNULL:!PSK"
MINIMUM = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class ServerContext(ssl.SSLContext):
    """end_point: the hash of its certificate (RFC 5929 4.1). names: contexts of further names, "*.example.net" too."""

    end_point: bytes = b""
    names: Mapping[str, ServerContext]


@dataclass(frozen=True, slots=True)
class Channel:
    """What a TLS connection has to say for a login. end_point: tls-server-end-point, b"" for none. client: SHA-256 of
    the client's certificate, verified, in hexadecimal; "" for none."""

    end_point: bytes = b""
    client: str = ""


NO_CHANNEL = Channel()


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A context, as a key: pairs are (name, certificate, key), the first of name "". client_ca: None not to ask."""

    pairs: tuple[tuple[str, Path, Path], ...]
    client_ca: Path | None
    minimum: str
    tickets: bool

    @property
    def files(self) -> list[Path]:
        files = [file for _, certificate, key in self.pairs for file in (certificate, key)]
        return files if self.client_ca is None else [*files, self.client_ca]


def server_context(tls: Tls, base: Path | None = None, clients: bool = False) -> ssl.SSLContext | None:
    """The context that servers use; None when no certificate is configured.

    base: directory that relative file names start from (the configuration directory). clients: ask for a certificate,
    if tls.client_ca is set. Raises ConfigError naming the file that cannot be read or used.
    """
    if not tls.certificate:
        return None
    pairs = [("", tls.certificate, tls.key or tls.certificate)]
    pairs += [(name, pair.certificate, pair.key or pair.certificate) for name, pair in sorted(tls.names.items())]
    wanted = _Wanted(
        tuple((name, _path(certificate, base), _path(key, base)) for name, certificate, key in pairs),
        _path(tls.client_ca, base) if clients and tls.client_ca else None,
        tls.minimum,
        tls.session_tickets,
    )
    made = _made(wanted)
    try:
        stamps = [file.stat().st_mtime_ns for file in wanted.files]
        if made.get("stamps") != stamps:
            made.update(context=_load(wanted), stamps=stamps)
    except _Unusable as error:
        # A key of root's that was renewed: the supervisor reads it at the next reload; until then the old one serves.
        if "context" not in made or not isinstance(error.__cause__, PermissionError):
            raise ConfigError(str(error)) from error
    except OSError as error:
        if "context" not in made or not isinstance(error, PermissionError):
            raise ConfigError(f"tls: {error.filename} cannot be used: {error.strerror}") from error
    context: ssl.SSLContext = made["context"]
    return context


def _path(name: str, base: Path | None) -> Path:
    return base / name if base is not None else Path(name)


@lru_cache(maxsize=16)
def _made(wanted: _Wanted) -> dict[str, Any]:
    """What was made for these files and settings: "context", and the modification times "stamps" it was made for."""
    del wanted
    return {}


class _Unusable(Exception):
    """str() says which files."""


def _load(wanted: _Wanted) -> ServerContext:
    contexts = {name: _one(wanted, certificate, key) for name, certificate, key in wanted.pairs}
    first = contexts.pop("")
    first.names = contexts
    if contexts:
        first.sni_callback = _choose
    return first


def _one(wanted: _Wanted, certificate: Path, key: Path) -> ServerContext:
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A password callback that gives nothing: an encrypted key is an error here, not a prompt.
        context.load_cert_chain(certificate, key, lambda: "")
        context.end_point = end_point(certificate.read_text("ascii", "replace"))
    except (OSError, ValueError) as error:
        trouble = getattr(error, "strerror", None) or str(error)
        verb = "read" if isinstance(error, PermissionError) else "used"
        raise _Unusable(f"tls: {certificate} with key {key} cannot be {verb}: {trouble}") from error
    context.minimum_version = MINIMUM[wanted.minimum]
    context.set_ciphers(CIPHERS)
    # RFC 9325 3.3 and 3.5: no compression, no renegotiation.
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    if not wanted.tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
    context.verify_mode = ssl.CERT_NONE
    if wanted.client_ca is not None:
        try:
            context.load_verify_locations(wanted.client_ca)
        except (OSError, ValueError) as error:
            raise _Unusable(f"tls: client_ca {wanted.client_ca} cannot be used: {error}") from error
        # Without a certificate a client is welcome still; with one that is listed itself, no authority is needed.
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _choose(connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
    """RFC 6066 3: the certificate of the name that the client asks for; of another, that of the host."""
    if name is None or not isinstance(context, ServerContext):
        return
    key = name.lower().removesuffix(".")
    found = context.names.get(key) or context.names.get(f"*.{key.partition('.')[2]}")
    if found is not None:
        connection.context = found


def end_point(pem: str) -> bytes:
    """The hash of the first certificate of a PEM file, for tls-server-end-point (RFC 5929 4.1): by the hash of the
    certificate's signature, SHA-256 in place of MD5, SHA-1 and none (Ed25519). Raises ValueError."""
    from cryptography.x509 import load_der_x509_certificate

    start = pem.find("-----BEGIN CERTIFICATE-----")
    end = pem.find("-----END CERTIFICATE-----", start)
    if start < 0 or end < 0:
        raise ValueError("no PEM certificate")
    der = ssl.PEM_cert_to_DER_cert(pem[start : end + len("-----END CERTIFICATE-----")])
    algorithm = load_der_x509_certificate(der).signature_hash_algorithm
    name = algorithm.name if algorithm is not None else "sha256"
    return hashlib.new("sha256" if name in ("md5", "sha1") else name, der).digest()


def channel_of(connection: ssl.SSLObject | ssl.SSLSocket | None) -> Channel:
    """After the handshake."""
    if connection is None:
        return NO_CHANNEL
    context = connection.context
    certificate = connection.getpeercert(binary_form=True) if context.verify_mode != ssl.CERT_NONE else None
    found = context.end_point if isinstance(context, ServerContext) else b""
    return Channel(found, hashlib.sha256(certificate).hexdigest() if certificate else "")


def describe(connection: ssl.SSLObject | ssl.SSLSocket | None) -> str:
    """As "TLSv1.3 TLS_AES_256_GCM_SHA384": version and cipher for Received and logs; "" without TLS."""
    if connection is None:
        return ""
    cipher = connection.cipher()
    return f"{connection.version()} {cipher[0]}" if cipher else str(connection.version() or "")
