"""DPI Dual-Stream: deep packet inspection for OpenWrt, as a library shared by plugins, engine and CLI."""

__version__ = "0.1.0"
