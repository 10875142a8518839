"""From folders, tables and films to stored sightings."""
