#!/bin/sh
# Gives Consul its policies and its four tokens, from files. Run again it changes nothing but what differs.
#
#   CONSUL_HTTP_ADDR        a server
#   CONSUL_HTTP_TOKEN_FILE  the management token (make-secrets.sh puts it into the servers' configuration)
#   POLICIES                the folder with <name>.hcl
#   TOKENS                  the folder with consul_<name>_token for each of agent, worker, gateway, prometheus
set -eu

tries=60
until consul operator raft list-peers > /dev/null 2>&1; do
    tries=$((tries - 1))
    [ "$tries" -gt 0 ] || { echo "acl: no leader at $CONSUL_HTTP_ADDR within 60 s, or the management token is wrong" >&2; exit 1; }
    sleep 1
done

for name in agent worker gateway prometheus; do
    if consul acl policy read -name="ragfleet-$name" > /dev/null 2>&1; then
        consul acl policy update -name="ragfleet-$name" -rules=@"$POLICIES/$name.hcl" > /dev/null
    else
        consul acl policy create -name="ragfleet-$name" -rules=@"$POLICIES/$name.hcl" > /dev/null
    fi
    secret=$(cat "$TOKENS/consul_${name}_token")
    # A token may read itself, so one that can is there already.
    if ! env -u CONSUL_HTTP_TOKEN_FILE CONSUL_HTTP_TOKEN="$secret" consul acl token read -self > /dev/null 2>&1; then
        consul acl token create -secret="$secret" -policy-name="ragfleet-$name" -description="ragfleet $name" > /dev/null
    fi
    echo "acl: $name may do what $name.hcl says"
done
