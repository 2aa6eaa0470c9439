"""`make test-dashboard`: every query of the Grafana dashboard, on a loaded fleet, in a real Prometheus."""
