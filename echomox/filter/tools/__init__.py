"""What people ask the filter for: why, how good it is, what it would have done; figures, tables and drawings."""
