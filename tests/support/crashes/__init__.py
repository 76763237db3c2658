"""Processes killed at every step they take towards something durable, and what is left of that after a restart."""
