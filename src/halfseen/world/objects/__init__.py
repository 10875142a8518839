"""What people carry, and what stands before them."""
