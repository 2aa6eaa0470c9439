#!/bin/sh
# Makes the secrets of compose.yaml in docker/secrets/, each a file of its own. What is there already is kept.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
# The containers' users read the files that Compose mounts, and they are not ours: the folder keeps others out.
chmod 700 secrets

random() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
uuid() { random 16 | sed 's/\(........\)\(....\)\(....\)\(....\)\(............\)/\1-\2-\3-\4-\5/'; }

put() { # NAME VALUE
    if [ ! -s "secrets/$1" ]; then
        printf '%s\n' "$2" > "secrets/$1"
        chmod 644 "secrets/$1"
        echo "made secrets/$1"
    fi
}

put api_key "sk-ragfleet-$(random 24)"
put admin_key "sk-ragfleet-admin-$(random 32)"
put postgres_password "$(random 24)"
put objects_user ragfleet
put objects_password "$(random 24)"
put milvus_password "$(random 16)"
put grafana_password "$(random 16)"
put filter_secret "$(random 32)"
for name in management agent worker gateway prometheus; do
    put "consul_${name}_token" "$(uuid)"
done
put consul_gossip_key "$(head -c 32 /dev/urandom | base64 | tr -d '\n')"

# What the parts read is composed from these.
put catalog_url "postgresql://ragfleet:$(cat secrets/postgres_password)@postgres:5432/ragfleet"
# Root, until you have made users with fewer rights and written them here (docs/production.md).
put milvus_token "root:$(cat secrets/milvus_password)"
put milvus_worker_token "$(cat secrets/milvus_token)"
put consul_server.json "$(printf '{"encrypt": "%s", "acl": {"tokens": {"initial_management": "%s", "agent": "%s"}}}' \
    "$(cat secrets/consul_gossip_key)" "$(cat secrets/consul_management_token)" "$(cat secrets/consul_agent_token)")"
put consul_client.json "$(printf '{"encrypt": "%s", "acl": {"tokens": {"agent": "%s"}}}' \
    "$(cat secrets/consul_gossip_key)" "$(cat secrets/consul_agent_token)")"
