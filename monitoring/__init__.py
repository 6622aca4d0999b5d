"""What an operator sees: metrics, logs, health, dashboards, alerts and runbooks."""
