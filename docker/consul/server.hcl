# A Consul server of compose.yaml. What agents say stays on the project's own network, so there are no certificates; servers on
# hosts of their own start from consul/server.hcl. The gossip key and the tokens come in a secret beside this file.
datacenter         = "ragfleet"
server             = true
bootstrap_expect   = 3
ui                 = true
retry_join         = ["consul-1", "consul-2", "consul-3"]
client_addr        = "0.0.0.0"
leave_on_terminate = false
# A server that comes back has another address; the others need not wait for it under the old one.
rejoin_after_leave = true

acl {
  enabled                  = true
  default_policy           = "deny"
  enable_token_persistence = true
}

# A server that is away for some seconds keeps its vote (consul/server.hcl says why).
autopilot {
  min_quorum = 3
}

check_update_interval       = "0s"
disable_update_check        = true
disable_anonymous_signature = true
disable_remote_exec         = true
enable_script_checks        = false
