"""Search: the best networks of a space for a budget, with the store as the only memory. See docs/architecture.md."""
