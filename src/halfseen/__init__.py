"""halfseen: find people again when you only half see them."""

__version__ = "0.1.0"
