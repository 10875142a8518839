"""Stored embeddings and their facts, and the search over them."""
