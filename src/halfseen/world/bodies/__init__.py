"""The body: its skeleton, how it stands and walks, and the clothes on it."""
