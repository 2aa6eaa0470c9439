#!/bin/sh
# The start of the images with a Triton:
#   worker …   one worker (or with --all-gpus one for each GPU); the arguments are those of `python -m worker`
#   fleet …    a whole fleet in this container; the arguments are those of `ragfleet up`
#   anything else is run as it stands, for a look around
set -eu

fail() {
    echo "entrypoint: $*" >&2
    exit 2
}

# Secrets come as files (Compose, Kubernetes), but these two are read by Consul's and Milvus's clients, from the environment.
for name in CONSUL_HTTP_TOKEN MILVUS_TOKEN; do
    eval "file=\${${name}_FILE:-} value=\${${name}:-}"
    # shellcheck disable=SC2154 # both are set by eval
    if [ -n "$file" ]; then
        [ -z "$value" ] || fail "$name and ${name}_FILE are both set. Unset one of them"
        [ -r "$file" ] || fail "${name}_FILE=$file cannot be read"
        export "$name=$(cat "$file")"
        unset "${name}_FILE"
    fi
done

home=${RAGFLEET_HOME:?is not set}
[ -w "$home" ] || fail "RAGFLEET_HOME=$home cannot be written by user $(id -u): mount a volume that it owns"
cd "$(dirname "$0")" # our code lies beside this file, as in the checkout

case ${1:-} in
worker)
    shift
    port=8101
    bind=0.0.0.0 # in a network of the container's own; with the host's network name an address (compose.host.yaml)
    for argument; do
        case $argument in
        --http-port=*) port=${argument#--http-port=} ;;
        --bind=*) bind=${argument#--bind=} ;;
        esac
    done
    address=$bind
    [ "$bind" != 0.0.0.0 ] || address=127.0.0.1
    echo "$port /v2/health/ready $address" > "$home/healthcheck"
    # A later argument wins, so that each of these can be set otherwise.
    exec python -m worker --http-port="$port" --bind="$bind" --model-repository=model_repository "$@"
    ;;
fleet)
    shift
    port=8000
    for argument; do
        case $argument in --port-base=*) port=${argument#--port-base=} ;; esac
    done
    echo "$port /health/live" > "$home/healthcheck"
    trap 'python -m ragfleet down; exit 0' TERM INT
    python -m ragfleet up "$@"
    # The fleet runs behind us; a signal interrupts `wait`, not a foreground sleep.
    while python -m ragfleet status > /dev/null; do
        sleep 5 &
        wait $!
    done
    fail "the fleet has ended: see $home/log"
    ;;
*)
    exec "$@"
    ;;
esac
