"""The queue of mail to the world (`data/queue`): durable when an addition returns, and given out by leases.

Reading order: model (what a queued message is), states (the table of what may become of it), schedule (when),
schema.sql, database and commit (one transaction for all that wait), routes (which transport), insert and spool
(adding), lease (fair giving out), finish (outcomes, and the reports they cause, in one transaction), destinations and
runner, control (what an administrator may do), suppression, dsn and match (reports that come back), sweep.
State: `data/queue/index.db`, `data/queue/msg/`.
"""
