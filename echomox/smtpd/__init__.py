"""SMTP servers: sessions, commands, extensions (`ext.EXTENSIONS`), and the two roles, `receive` and
`submit`."""
