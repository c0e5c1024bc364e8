"""Charts for pages (SVG) and for print (matplotlib), with one palette. Imports nothing of the package but errors."""
