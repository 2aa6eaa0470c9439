# The client agent of compose.yaml's one host: workers register with it, and it runs their checks.
datacenter         = "ragfleet"
retry_join         = ["consul-1", "consul-2", "consul-3"]
client_addr        = "0.0.0.0"
leave_on_terminate = true

acl {
  enabled        = true
  default_policy = "deny"
}

check_update_interval       = "0s"
disable_update_check        = true
disable_anonymous_signature = true
disable_remote_exec         = true
enable_script_checks        = false
