"""The organisational domain by the public suffix list; it lives in `echomox.dns.psl`, where lower layers reach it."""

from __future__ import annotations

from echomox.dns.psl import is_public_suffix, organisational_domain

__all__ = ["is_public_suffix", "organisational_domain"]
