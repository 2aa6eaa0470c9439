# A Consul agent writes its own node and reads the services, to keep the catalogue and its own list equal.

node_prefix "" {
  policy = "write"
}

service_prefix "" {
  policy = "read"
}
