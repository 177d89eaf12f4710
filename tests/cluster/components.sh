# shellcheck shell=bash
# The programs which both forms start, with their flags. `bin` is a folder (or link) that holds them.

# Sockets instead of ports: nobody else can take them or reach them. The state is thrown away: no need to wait for the disk.
start_etcd() {
  local client=unix://$state/etcd.sock peer=unix://$state/etcd-peer.sock
  start etcd "$bin/etcd" --data-dir="$state/etcd" --unsafe-no-fsync --log-level=warn \
    --listen-client-urls="$client" --advertise-client-urls="$client" \
    --listen-peer-urls="$peer" --initial-advertise-peer-urls="$peer" --initial-cluster="default=$peer"
  await etcd curl -sf --unix-socket "$state/etcd.sock" http://etcd/health
}

# start_api PORT FLAG...
start_api() {
  start kube-apiserver "$bin/kube-apiserver" --etcd-servers="unix://$state/etcd.sock" --secure-port="$1" \
    --tls-cert-file="$state/pki/api.crt" --tls-private-key-file="$state/pki/api.key" --cert-dir="$state/pki" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file="$state/pki/sa.pub" --service-account-signing-key-file="$state/pki/sa.key" \
    --service-cluster-ip-range="$service_range" --allow-privileged=true \
    --token-auth-file="$state/pki/tokens.csv" --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --audit-policy-file="$here/config/audit.yaml" --audit-log-path="$state/log/audit.log" "${@:2}"
}

start_controllers() {
  start kube-controller-manager "$bin/kube-controller-manager" --kubeconfig="$state/kubeconfig/kube-controller-manager" \
    --service-account-private-key-file="$state/pki/sa.key" --root-ca-file="$state/pki/ca.crt" \
    --use-service-account-credentials=true --leader-elect=false --kube-api-qps=100 --kube-api-burst=200 --secure-port=0
}
