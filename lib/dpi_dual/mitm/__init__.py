"""Stream 1: the addon in mitmproxy (Buffer A), the analyser beside it (Buffer B), and the engine's link to them."""
