"""The text of messages for SEARCH: the full-text index, and reading messages where it cannot say for sure."""
