# shellcheck shell=bash
# What the cluster's scripts share. `state` is the cluster's folder: everything about one running cluster lies in it.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# The full form: there is one, in this network namespace, and every address of it is in 198.18.0.0/15 (RFC 2544: for tests).
namespace=vectoll
node_ip=198.18.0.1
pod_range=198.18.1.0/24
service_range=198.19.0.0/24
full_state=${VECTOLL_CLUSTER_DIR:-/var/lib/vectoll-cluster}

# A proxy is for the outside. Some users' PATH lacks what root needs.
export NO_PROXY=localhost,127.0.0.1,198.18.0.0/15,.svc,.cluster.local no_proxy=localhost,127.0.0.1,198.18.0.0/15,.svc,.cluster.local
export PATH=$PATH:/usr/sbin:/sbin

die() { echo "$*" >&2; exit 1; }

# Repeats a command every 0.1 s until it succeeds.
within() {
  local deadline=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < deadline)) || return 1
    sleep 0.1
  done
}

# A folder is only ever emptied or removed if this file says that a cluster made it.
is_cluster() { [ -f "$state/form" ]; }
is_light() { [ "$(cat "$state/form" 2>/dev/null)" = light ]; }

# start NAME COMMAND...: starts a program in the background and notes its command for `component start`.
start() {
  printf '%s\0' "${@:2}" >"$state/run/$1.command"
  launch "$1"
}

# The process writes its own pid before it becomes the program: there is no moment when it runs and is not recorded.
launch() {
  local command
  mapfile -d '' -t command <"$state/run/$1.command"
  rm -f "$state/run/$1.pid"
  # shellcheck disable=SC2016  # for the inner bash
  setsid bash -c 'echo $$ >"$0"; exec "$@"' "$state/run/$1.pid" "${command[@]}" \
    </dev/null >>"$state/log/$1.log" 2>&1 9>&- &
  disown
  until [ -s "$state/run/$1.pid" ]; do sleep 0.02; done
}

# await NAME COMMAND...: repeats a command until it succeeds. Fails when the program NAME has ended, or after three minutes
# (a start takes seconds; but machines can be busy).
await() {
  local deadline=$((SECONDS + 180))
  until "${@:2}" >/dev/null 2>&1; do
    if ended "$1" || ((SECONDS >= deadline)); then
      tail -n 20 "$state/log/$1.log" >&2
      die "$1 does not become ready"
    fi
    sleep 0.1
  done
}

# The recorded process, if it still runs: the pid may long belong to another one, and ours names a file in the state folder.
pid_of() {
  local pid
  pid=$(cat "$state/run/$1.pid" 2>/dev/null) || return
  tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$state/" || return
  echo "$pid"
}

ended() { ! pid_of "$1" >/dev/null; }

# end SIGNAL NAME: signals a recorded process, and waits until it is gone.
end() {
  local pid
  pid=$(pid_of "$2") || return 0
  kill "-$1" "$pid" 2>/dev/null || true
  within 10 ended "$2" && return
  [ "$1" != KILL ] || die "$2 (pid $pid) does not end"
  end KILL "$2"
}

# Is the API server ready? The certificate says that it is ours, should another one have the port now.
api_ready() {
  local server token
  server=$(cat "$state/server") && token=$(head -1 "$state/pki/tokens.csv" | cut -d, -f1) || return
  [ "$(in_network curl -s -m 2 --cacert "$state/pki/ca.crt" -H "Authorization: Bearer $token" "$server/readyz")" = ok ]
}

# Runs a command in the cluster's network.
in_network() {
  if is_light || [ -n "${VECTOLL_INSIDE:-}" ]; then "$@"; else nsenter --net="/run/netns/$namespace" "$@"; fi
}

# Runs a command as the full cluster's programs run: with its mounts, its processes, its network.
inside() {
  VECTOLL_INSIDE=yes nsenter --target "$(pid_of init)" --mount --pid --net -- "$@"
}
