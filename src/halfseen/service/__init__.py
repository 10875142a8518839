"""A gallery searched over HTTP, and the one page that shows what is found."""
