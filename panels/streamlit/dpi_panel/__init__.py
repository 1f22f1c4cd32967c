"""The suite's figures as Streamlit functions, each usable on its own: `from dpi_panel import sections, router`."""
