"""From surfaces to pixels: what is seen, in which colour, in which light."""
