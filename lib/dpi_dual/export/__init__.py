"""What leaves the router for other systems: Prometheus, InfluxDB, Suricata's EVE, MQTT. All of it is off by default."""
