"""The ubus side: objects and methods, and the rpcd exec plugins."""
