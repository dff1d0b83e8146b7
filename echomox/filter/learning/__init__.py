"""Learning: lessons of the user into junk.db and the learned parts, and what watches over it."""
