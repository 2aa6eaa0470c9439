# The one Consul agent of an embedded fleet: server and client at once. `ragfleet up` adds the folder and the ports.
# A fleet of many machines starts from server.hcl and client.hcl instead.

bind_addr   = "127.0.0.1"
client_addr = "127.0.0.1"
node_name   = "ragfleet"
log_level   = "WARN"

# Words of a check reach the catalogue at once. The default sends changes of output only every 5 minutes, so the UI
# would show old load.
check_update_interval = "0s"

# One server on one machine elects itself; the default of 5 allows for slow disks and costs seconds at each start.
performance {
  raft_multiplier = 1
}

# Nothing calls home, nothing runs commands from the network.
disable_update_check        = true
disable_anonymous_signature = true
disable_remote_exec         = true
enable_script_checks        = false

ports {
  dns      = -1
  serf_wan = -1
  grpc     = -1
}
