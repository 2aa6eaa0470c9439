# A worker registers its Triton, feeds its check, puts it into maintenance and removes it: all of it writing one service.

service "ragfleet-triton" {
  policy = "write"
}

node_prefix "" {
  policy = "read"
}
