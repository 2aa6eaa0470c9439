# A Consul server of a fleet; run three or five, each on a machine of its own.
#
#   consul agent -config-file=consul/server.hcl -data-dir=/var/lib/consul -bind='{{ GetPrivateIP }}'
#
# Give each its certificate and the gossip key first:
#   consul tls ca create && consul tls cert create -server -dc ragfleet      (once, then copy)
#   consul keygen                                                            (into encrypt, below)

datacenter       = "ragfleet"
server           = true
bootstrap_expect = 3
ui               = true
retry_join       = ["consul-1.internal", "consul-2.internal", "consul-3.internal"]

# The API only on this machine: gateways and workers talk to the client agent on their own host.
client_addr = "127.0.0.1"

# encrypt = "…"   # consul keygen; the same on every agent

# Certificates for what agents say to each other. From Consul 1.12 on the same keys may stand in `tls { defaults { … } }`.
verify_incoming        = true
verify_outgoing        = true
verify_server_hostname = true
ca_file                = "/etc/consul.d/consul-agent-ca.pem"
cert_file              = "/etc/consul.d/server.pem"
key_file               = "/etc/consul.d/server-key.pem"

# Nobody may do anything without a token; consul/policies/ has the two that the fleet needs:
#   consul acl bootstrap
#   consul acl policy create -name ragfleet-gateway -rules @consul/policies/gateway.hcl
#   consul acl policy create -name ragfleet-worker  -rules @consul/policies/worker.hcl
#   consul acl token create -policy-name ragfleet-worker        (into CONSUL_HTTP_TOKEN of the worker)
acl {
  enabled                  = true
  default_policy           = "deny"
  enable_token_persistence = true
}

# Decide within seconds when a server is lost; the default is meant for small, slow machines.
performance {
  raft_multiplier = 1
}

# As many as there are servers. By default a server that is away for some seconds loses its vote, and has it back only 10 s after it
# is there again: another one lost in that time, and there is no majority.
autopilot {
  min_quorum = 3
}

disable_update_check        = true
disable_anonymous_signature = true
disable_remote_exec         = true
enable_script_checks        = false
