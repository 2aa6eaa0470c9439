# A gateway reads which Tritons there are, how they are, and on which nodes. It writes one key alone: of all gateways'
# ingestions the one that holds it works, by a session at the agent that it talks to.

service "ragfleet-triton" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}

key_prefix "ragfleet/ingestion/" {
  policy = "write"
}

session_prefix "" {
  policy = "write"
}
