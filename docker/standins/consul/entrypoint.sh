#!/bin/sh
# What compose.yaml uses of hashicorp/consul's entrypoint, over Debian's Consul 1.8.7: `agent ARGUMENTS`, or any other subcommand.
set -eu
[ "${1:-}" = agent ] || exec consul "$@"
shift
mkdir -p /tmp/configuration
arguments=
for argument; do
    case $argument in
    -config-file=/run/secrets/*)
        file=${argument#-config-file=}
        own=/tmp/configuration/$(basename "$file")
        sed 's/initial_management/master/' "$file" > "$own"
        argument=-config-file=$own
        ;;
    esac
    arguments="$arguments $argument"
done
# shellcheck disable=SC2086 # words without spaces, by compose.yaml
exec consul agent -data-dir=/consul/data -config-dir=/consul/config $arguments
