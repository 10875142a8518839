"""The pieces of a report: what was found out, and how it is told in HTML."""
