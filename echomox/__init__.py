"""EchoMox: a complete mail server with a spam filter that learns and explains itself."""

from os import environ

# One thread: matrices here are small, and threads of several workers that wait for each other cost fifty times the
# work. Has effect when numpy is not yet imported, so it stands here.
environ.setdefault("OPENBLAS_NUM_THREADS", "1")
