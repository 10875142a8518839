"""The pieces of the training loop: what it logs, keeps, costs, and when it stops."""
