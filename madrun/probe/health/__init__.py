"""Readers of what `madrun doctor` looks at: each gives facts, or says by `Unreadable` why it cannot."""
