"""The commands a person types: dpi-dualctl and the collectors."""
