"""Whether a mail is from whom it says (SPF, DKIM, DMARC, ARC, iprev), and our own signatures. Asks DNS through a
`Resolver`; no sockets, no configuration."""
