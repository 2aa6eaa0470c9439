# A gateway only reads: which Tritons there are, how they are, and on which nodes.

service "ragfleet-triton" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}
