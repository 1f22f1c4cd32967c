"""`mitmdump -s dpi_buffer.py`: loads the addon from the library (the wheel, or PYTHONPATH=/usr/lib/dpi-dual)."""

from dpi_dual.mitm.addon import addons  # noqa: F401 - mitmproxy looks for this name
