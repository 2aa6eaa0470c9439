# Prometheus finds the Tritons, and reads nothing else.

service "ragfleet-triton" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}

agent_prefix "" {
  policy = "read"
}
