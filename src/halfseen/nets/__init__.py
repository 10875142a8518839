"""Networks that two methods or more use."""
