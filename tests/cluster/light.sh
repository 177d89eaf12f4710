# shellcheck shell=bash
# The light form: etcd and API server on a free loopback port, without root.

up_light() {
  local bin=$state/bin port
  mkdir -p "$bin"
  if [ -n "${KUBEBUILDER_ASSETS:-}" ] && [ "$controllers" = no ] && has_assets; then
    ln -s "$(realpath "$KUBEBUILDER_ASSETS")"/{etcd,kube-apiserver,kubectl} "$bin/"
  else
    local folder folders
    folders=$("$here/tools/build" etcd kubernetes)
    for folder in $folders; do ln -s "$folder"/* "$bin/"; done
  fi
  start_etcd
  # Somebody may take the port between the choice and the start: then another one. Three in a row is no accident.
  for _ in 1 2 3; do
    port=$(free_port)
    echo "https://127.0.0.1:$port" >"$state/server"
    rm -rf "$state/pki" "$state/kubeconfig"
    "$here/certificates" "$state" "https://127.0.0.1:$port" IP:127.0.0.1 DNS:localhost DNS:kubernetes.default.svc
    start_api "$port" --bind-address=127.0.0.1 --advertise-address=127.0.0.1 --endpoint-reconciler-type=none
    within 180 ready_or_ended || break
    api_ready && break
    grep -q 'address already in use' "$state/log/kube-apiserver.log" || break
  done
  await kube-apiserver api_ready
  if [ "$controllers" = yes ]; then
    start_controllers
    await kube-controller-manager "$bin/kubectl" --kubeconfig "$state/kubeconfig/admin" get serviceaccount default
  fi
  echo "$state/kubeconfig/admin"
}

has_assets() { [ -x "$KUBEBUILDER_ASSETS/etcd" ] && [ -x "$KUBEBUILDER_ASSETS/kube-apiserver" ] && [ -x "$KUBEBUILDER_ASSETS/kubectl" ]; }

ready_or_ended() { api_ready || ended kube-apiserver; }

# Below the ports which the kernel gives to outgoing connections.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
}
