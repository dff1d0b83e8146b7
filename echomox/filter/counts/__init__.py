"""An account's junk.db and words.map: what is counted of words and senders, for those who write and those who read."""
