"""Reports about mail between servers: DMARC aggregate reports (RFC 7489 7.2) and TLS reports (RFC 8460), to others and
from them.

model (values), aggregate and dmarcxml (XML out and in), tlsjson (JSON both ways), mail (the mails they travel in),
unpack (attachments, bounded), database (data/reports/index.db), arrivals (what comes to a report address), sender (who
we are), dmarcsend, tlssend and sending (the job), https (POST).
"""
