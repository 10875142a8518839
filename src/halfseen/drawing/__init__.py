"""Drawings that are text: charts in SVG."""
