"""The engine in memory, for unit tests of what stands above the store."""
