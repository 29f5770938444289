"""Plots of a report, as the plain JSON of Plotly; colours are names of CSS properties, which the page fills in."""
