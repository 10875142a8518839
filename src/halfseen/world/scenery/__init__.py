"""What lies behind people: places painted as the cameras see them."""
