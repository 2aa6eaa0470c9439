# The Consul agent of a GPU host or a gateway host. A service's checks hang on the agent that it was registered with, so
# every host has its own: when the host dies, gossip marks its node (serfHealth) and with it every Triton on it critical,
# without any check of ours.
#
#   consul agent -config-file=consul/client.hcl -data-dir=/var/lib/consul -bind='{{ GetPrivateIP }}'

datacenter = "ragfleet"
retry_join = ["consul-1.internal", "consul-2.internal", "consul-3.internal"]

# Workers and gateways on this host only.
client_addr = "127.0.0.1"

# encrypt = "…"   # the same as on the servers

verify_outgoing        = true
verify_server_hostname = true
ca_file                = "/etc/consul.d/consul-agent-ca.pem"

# The load in words reaches the servers, and so the UI, at once instead of after 5 minutes. The worker changes its words
# only when they mean something new, and at most every 5 seconds, so this is cheap.
check_update_interval = "0s"

acl {
  enabled        = true
  default_policy = "deny"
  # tokens { agent = "…" }   # may write its own node: consul acl token create -node-identity=HOST:ragfleet (1.8.1 and newer)
}

# A host that is switched off leaves by itself; one that crashes is found by gossip.
leave_on_terminate = true

disable_update_check        = true
disable_anonymous_signature = true
disable_remote_exec         = true
enable_script_checks        = false
