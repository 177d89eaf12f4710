# shellcheck shell=bash
# The full form, from outside: the namespaces; then `node` starts everything inside them.

up_full() {
  case $state in /run/*) die "VECTOLL_CLUSTER_DIR cannot be below /run: the cluster has a /run of its own" ;; esac
  "$here/needs"
  local folder folders
  folders=$("$here/tools/build" all)
  mkdir "$state/bin"
  for folder in $folders; do ln -s "$folder"/* "$state/bin/"; done

  ip netns add "$namespace"
  start namespaces nsenter --net="/run/netns/$namespace" \
    unshare --mount --pid --fork --kill-child "$here/init" "$state/"
  await namespaces test -e "$state/run/init.ready"
  inside "$here/node" "$state"
  echo "enter its network with: nsenter --net=/run/netns/$namespace, or tests/cluster/in COMMAND" >&2
  echo "$state/kubeconfig/admin"
}

# A cluster that crashed leaves its network namespace. Without its state it may as well be somebody else's.
remove_namespace() {
  [ -e "/run/netns/$namespace" ] || return 0
  local pids
  pids=$(ip netns pids "$namespace" | tr '\n' ' ')
  if [ -n "$pids" ]; then
    [ "$1" = full ] || die "the network namespace $namespace is used by other processes: $pids"
    echo "still in the network namespace $namespace, which goes with them: $pids" >&2
  fi
  ip netns del "$namespace"
  # The first `ip netns add` made this folder and mounted it on itself.
  if [ -z "$(ls -A /run/netns)" ] && umount /run/netns; then rmdir /run/netns; fi
}
