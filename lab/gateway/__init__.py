"""A stand-in for OpenWrt's ubusd, rpcd and uhttpd, so that the real rpcd plugins can be used on any Linux.

What a plugin may rely on, and what breaks it, is the same as on a router; where the original would
lose its bus presence or send broken JSON, this one says so aloud and records it in its statistics.
"""
