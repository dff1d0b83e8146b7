"""The spam filter: tokens and features of a message, stages that find evidence, their combination, the
decision, and learning. The way through it: features.read → judge.Judge → stages.STAGES → combine → decide.

Pure but for words (junk.db), training and judge, which read and write the account's files, and trial, evaluate and
corpus, which people run.
"""
