"""The HTTP API: a CGI program over the ubus methods, for what cannot speak ubus."""
