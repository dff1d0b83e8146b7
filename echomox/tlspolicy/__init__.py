"""What a receiving domain says about TLS, and what we met: MTA-STS (RFC 8461), DANE for SMTP (RFC 6698, 7671, 7672),
TLSRPT (RFC 8460).

`mtasts`, `dane` and `tlsrpt` are pure: records and policies in, verdicts out. `fetch` gets a policy by HTTPS,
`policies` keeps policies and results in `data/tlspolicy/index.db`, shared by all processes.
"""
