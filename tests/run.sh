#!/usr/bin/env bash
# Starts operator and sidecar on the quickstart and stays until it is interrupted. State is kept in run/.
set -euo pipefail
cd "$(dirname "$0")/.."
bin="$1"
mkdir -p run
if [ ! -d run/manifests ]; then cp -r crds/examples/quickstart run/manifests; fi

pids=()
stop() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; wait; }
trap stop EXIT
trap 'exit 0' INT TERM

"$bin/vectoll-operator" standalone --manifests run/manifests --config-dir run/config &
pids+=($!)
for _ in $(seq 100); do [ -e run/config/config.v1.yaml ] && break; sleep 0.1; done
"$bin/vectoll-sidecar" --config-dir run/config --state-dir run/state \
  --listen "${VECTOLL_LISTEN:-127.0.0.1:4000}" --admin-listen "${VECTOLL_ADMIN_LISTEN:-127.0.0.1:4001}" &
pids+=($!)
address="${VECTOLL_LISTEN:-127.0.0.1:4000}"
for _ in $(seq 100); do
  curl -sf "http://$address/health/readiness" >/dev/null && break
  kill -0 "${pids[1]}" 2>/dev/null || { echo "the sidecar did not start: see above" >&2; exit 1; }
  sleep 0.1
done
curl -sf "http://$address/health/readiness" >/dev/null || { echo "the pair is not ready: see above" >&2; exit 1; }
key=$("$bin/vectoll-operator" key alice --config-dir run/config)

cat <<END

The pair runs. Manifests: run/manifests (edit them while it runs). Spend: http://${VECTOLL_ADMIN_LISTEN:-127.0.0.1:4001}/metrics
Key of alice: $key (any other: $bin/vectoll-operator key NAME --config-dir run/config)
Try it:

curl -s http://$address/v1/embeddings -H "Authorization: Bearer $key" -H "Content-Type: application/json" -d '{"model": "builtin", "input": "The quick brown fox"}'

Ctrl-C stops it.
END
wait -n "${pids[@]}"
