"""People rendered from nothing: bodies, clothes, walks, cameras, occluders, and exactly known parts. Pure torch."""
