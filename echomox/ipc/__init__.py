"""How the processes talk: frames of declared dataclasses (schema, frame) over Unix sockets (unix, channel),
and the clients of two services: bells (the notifier) and classify (the classifiers)."""
