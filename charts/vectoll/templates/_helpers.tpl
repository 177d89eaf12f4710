{{/*
Fills in what values lack: those of a release that an older chart made, upgraded with --reuse-values, and those that somebody has set to
null. Each template begins with it. A `runAsUser` that is null is left to the platform: Helm takes it out of the values, where one that an
older chart did not know is missing, too. The two are told apart by what came into the chart together with it.
*/}}
{{- define "vectoll.complete" -}}
{{- $older := not (or (hasKey .Values "metrics") (hasKey .Values "admissionPolicies")) -}}
{{- include "vectoll.fill" (list .Values (.Files.Get "files/defaults.yaml" | fromYaml) $older) -}}
{{- end -}}

{{/* From a list of a map, its defaults, and whether an older chart made it. A default that is an empty map is a map of the user's own. */}}
{{- define "vectoll.fill" -}}
{{- $into := index . 0 -}}
{{- $older := index . 2 -}}
{{- range $name, $default := index . 1 -}}
{{- $given := get $into $name -}}
{{- if not (hasKey $into $name) -}}
{{- if or $older (ne $name "runAsUser") -}}
{{- $_ := set $into $name $default -}}
{{- end -}}
{{- else if kindIs "invalid" (index $into $name) -}}
{{- if ne $name "runAsUser" -}}
{{- $_ := set $into $name $default -}}
{{- end -}}
{{- else if and (kindIs "map" $default) (kindIs "map" $given) (ne $name "resources") -}}
{{- include "vectoll.fill" (list $given $default $older) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The name of the chart's objects: the release's name, with the chart's if it is not already in it. */}}
{{- define "vectoll.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "vectoll.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* What stays the same over the life of a release: selectors are made of it. */}}
{{- define "vectoll.selectorLabels" -}}
app.kubernetes.io/name: {{ include "vectoll.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "vectoll.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "vectoll.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: vectoll
{{- with include "vectoll.commonLabels" . }}
{{ . }}
{{- end }}
{{- end -}}

{{/* Labels of the user's own. Those of the chart are not for them to change: selectors are made of them. */}}
{{- define "vectoll.commonLabels" -}}
{{- $own := list "helm.sh/chart" "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "app.kubernetes.io/part-of" "app.kubernetes.io/component" -}}
{{- range $name, $_ := .Values.commonLabels -}}
{{- if has $name $own -}}
{{- fail (printf "commonLabels: %s is the chart's own: remove it" $name) -}}
{{- end -}}
{{- end -}}
{{- with .Values.commonLabels -}}
{{- toYaml . -}}
{{- end -}}
{{- end -}}

{{- define "vectoll.operatorLabels" -}}
{{ include "vectoll.labels" . }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "vectoll.serviceAccountName" -}}
{{- default (include "vectoll.fullname" .) .Values.serviceAccount.name -}}
{{- end -}}

{{/* The operator as the API server sees it: what admission policies go by. */}}
{{- define "vectoll.username" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "vectoll.serviceAccountName" . }}
{{- end -}}

{{- define "vectoll.webhookService" -}}
{{ include "vectoll.fullname" . }}-webhook
{{- end -}}

{{- define "vectoll.webhookTLSSecret" -}}
{{ include "vectoll.fullname" . }}-webhook-tls
{{- end -}}

{{/* What the passwords of the store are derived from. The operator makes it. */}}
{{- define "vectoll.storeSecret" -}}
{{ include "vectoll.fullname" . }}-store-master
{{- end -}}

{{/* The job that writes bills. */}}
{{- define "vectoll.report" -}}
{{ include "vectoll.fullname" . }}-report
{{- end -}}

{{- define "vectoll.reportSelectorLabels" -}}
app.kubernetes.io/name: {{ include "vectoll.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: report
{{- end -}}

{{- define "vectoll.reportLabels" -}}
{{ include "vectoll.labels" . }}
app.kubernetes.io/component: report
{{- end -}}

{{/* The gateway, its objects, and what its config Secrets begin with. */}}
{{- define "vectoll.gateway" -}}
{{ include "vectoll.fullname" . }}-gateway
{{- end -}}

{{- define "vectoll.gatewayTLSSecret" -}}
{{- if eq .Values.gateway.certificate "existing" -}}
{{ required "gateway.existingSecret: name the Secret (kubernetes.io/tls) with the gateway's certificate" .Values.gateway.existingSecret }}
{{- else -}}
{{ include "vectoll.gateway" . }}-tls
{{- end -}}
{{- end -}}

{{- define "vectoll.gatewaySelectorLabels" -}}
app.kubernetes.io/name: {{ include "vectoll.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- define "vectoll.gatewayLabels" -}}
{{ include "vectoll.labels" . }}
app.kubernetes.io/component: gateway
{{- end -}}

{{/* The names by which the gateway is called, and which its certificate is for, separated by commas. */}}
{{- define "vectoll.gatewayNames" -}}
{{- $name := include "vectoll.gateway" . -}}
{{- $inside := list $name (printf "%s.%s" $name .Release.Namespace) (printf "%s.%s.svc" $name .Release.Namespace) (printf "%s.%s.svc.cluster.local" $name .Release.Namespace) -}}
{{- $url := list -}}
{{- with .Values.gateway.url -}}
{{- $url = list (regexReplaceAll "(:[0-9]+)?/?$" (trimPrefix "https://" .) "" | trimPrefix "[" | trimSuffix "]") -}}
{{- end -}}
{{- concat $inside .Values.gateway.hosts (include "vectoll.gatewayRouteHosts" . | fromJsonArray) $url | uniq | join "," -}}
{{- end -}}

{{/* The Secret with the CA that sidecars trust at the gateway. */}}
{{- define "vectoll.gatewayCASecret" -}}
{{- if and .Values.gateway.caSecret .Values.gateway.wellKnownCAs -}}
{{- fail "gateway.caSecret and gateway.wellKnownCAs: sidecars trust one of the two: set one of them" -}}
{{- end -}}
{{ .Values.gateway.caSecret | default (include "vectoll.gatewayTLSSecret" .) }}
{{- end -}}

{{/* The hosts of the gateway's ingress and route, as a JSON list. */}}
{{- define "vectoll.gatewayRouteHosts" -}}
{{- $hosts := list -}}
{{- range list .Values.gateway.ingress .Values.gateway.httpRoute -}}
{{- if .enabled -}}
{{- $hosts = concat $hosts .hosts -}}
{{- end -}}
{{- end -}}
{{- $hosts | uniq | toJson -}}
{{- end -}}

{{/* Where callers find it. */}}
{{- define "vectoll.gatewayURL" -}}
https://{{ first .Values.gateway.hosts | default (printf "%s.%s.svc" (include "vectoll.gateway" .) .Release.Namespace) }}{{ if ne (int .Values.gateway.service.port) 443 }}:{{ .Values.gateway.service.port }}{{ end }}/v1
{{- end -}}

{{/* Where sidecars pass calls on to. */}}
{{- define "vectoll.gatewayAddress" -}}
{{- $port := int .Values.gateway.service.port -}}
{{ .Values.gateway.url | trimSuffix "/" | default (printf "https://%s.%s.svc%s" (include "vectoll.gateway" .) .Release.Namespace (eq $port 443 | ternary "" (printf ":%d" $port))) }}
{{- end -}}

{{/* The chart's own Valkey, and its objects. */}}
{{- define "vectoll.valkey" -}}
{{ include "vectoll.fullname" . }}-store
{{- end -}}

{{/* Not empty: the chart brings a Valkey. */}}
{{- define "vectoll.hasValkey" -}}
{{- if and .Values.store.enabled (not .Values.store.url) -}}true{{- end -}}
{{- end -}}

{{- define "vectoll.valkeySelectorLabels" -}}
app.kubernetes.io/name: {{ include "vectoll.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: store
{{- end -}}

{{- define "vectoll.valkeyLabels" -}}
{{ include "vectoll.labels" . }}
app.kubernetes.io/component: store
{{- end -}}

{{/* The store's URL, for the operator and all sidecars. What only one of the two kinds of store takes is refused for the other. */}}
{{- define "vectoll.storeURL" -}}
{{- if .Values.store.url -}}
{{- if and .Values.store.caSecret.name (not (hasPrefix "rediss" .Values.store.url)) -}}
{{- fail "store.caSecret is for TLS, and store.url has none: begin it with rediss" -}}
{{- else if and .Values.store.existingSecret.usernameKey (not .Values.store.existingSecret.name) -}}
{{- fail "store.existingSecret.usernameKey is the key of a Secret: set store.existingSecret.name" -}}
{{- end -}}
{{- .Values.store.url -}}
{{- else -}}
{{- if or .Values.store.existingSecret.name .Values.store.existingSecret.usernameKey .Values.store.caSecret.name -}}
{{- fail "store.existingSecret and store.caSecret are for a store of yours: set store.url" -}}
{{- end -}}
redis://{{ include "vectoll.valkey" . }}.{{ .Release.Namespace }}.svc:6379
{{- end -}}
{{- end -}}

{{/* User and group of a pod or a container, from a number; none: the platform chooses. */}}
{{- define "vectoll.user" -}}
{{- with . -}}
runAsUser: {{ int64 . }}
runAsGroup: {{ int64 . }}
{{- end -}}
{{- end -}}

{{- define "vectoll.lease" -}}
{{ include "vectoll.fullname" . }}-operator
{{- end -}}

{{/* An image's reference, from a dict of root and image. */}}
{{- define "vectoll.image" -}}
{{- $root := .root -}}
{{- with .image -}}
{{- with $root.Values.imageRegistry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- .repository -}}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ default $root.Chart.AppVersion .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "vectoll.valkeyImage" -}}
{{- with .Values.valkey.image -}}
{{- with .registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- .repository -}}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The configuration of the chart's Valkey, but for its password. */}}
{{- define "vectoll.valkeyConfig" -}}
port 6379
dir /data
# What was answered is on the disk.
appendonly yes
appendfsync always
save ""
# Counters are never thrown away to make room.
maxmemory {{ .Values.valkey.maxMemory }}
maxmemory-policy noeviction
# What one login may send, and what may wait for it: namespaces share this server. Sidecars send at most a few megabytes at once, of which no
# word is longer than two kilobytes.
proto-max-bulk-len 1mb
client-query-buffer-limit 16mb
client-output-buffer-limit normal 64mb 32mb 10
maxmemory-clients 20%
# Every connection of ours speaks every few seconds.
timeout 300
tcp-keepalive 60
# A function of ours takes milliseconds: the operator ends what takes longer.
busy-reply-threshold 1000
# For the probes, which hold no password: it may ask whether the server answers, and nothing else.
user vectoll-probe on nopass resetkeys resetchannels -@all +ping
# The administrator's password.
include /etc/vectoll-store/secret/store.conf
{{- end -}}

{{/* Asks the chart's Valkey whether it answers; it ends badly if the answer is an error. */}}
{{- define "vectoll.valkeyPing" -}}
[{{ .Values.valkey.cli }}, --user, vectoll-probe, --pass, none, --no-auth-warning, -e, ping]
{{- end -}}

{{/* The settings of injected sidecars: the file that --injection-config names. */}}
{{- define "vectoll.injectionConfig" -}}
image: {{ include "vectoll.image" (dict "root" . "image" .Values.sidecar.image) }}
imagePullPolicy: {{ .Values.sidecar.image.pullPolicy }}
resources:
{{- range $which, $amounts := .Values.sidecar.resources }}
  {{ $which }}:
  {{- range $name, $amount := $amounts }}
    {{ $name }}: {{ $amount | toString | quote }}
  {{- else }} {}
  {{- end }}
{{- else }} {}
{{- end }}
logFormat: {{ .Values.sidecar.logFormat }}
logFilter: {{ .Values.sidecar.logFilter | quote }}
{{- with .Values.sidecar.env }}
env: {{- toYaml . | nindent 2 }}
{{- end }}
drainTimeoutSeconds: {{ .Values.sidecar.drainTimeoutSeconds }}
runAsUser: {{ with .Values.sidecar.runAsUser }}{{ int64 . }}{{ else }}null{{ end }}
probe: {{ .Values.sidecar.probe }}
userMetrics: {{ .Values.sidecar.userMetrics }}
excludedNamespaces: {{ .Values.webhook.excludedNamespaces | toJson }}
{{- with .Values.sidecar.lockedAnnotations }}
lockedAnnotations: {{ toJson . }}
{{- end }}
{{- if .Values.gateway.only }}
{{- if not .Values.gateway.enabled }}
{{- fail "gateway.only: without the gateway nobody could call anybody: set gateway.enabled" }}
{{- end }}
gatewayOnly: {{ include "vectoll.gatewayURL" . | quote }}
{{- end }}
{{- if .Values.gateway.enabled }}
gatewayToken: true
{{- end }}
workloadIdentity:
{{- range $cloud, $of := .Values.sidecar.workloadIdentity }}
  {{ $cloud }}: {audience: {{ $of.audience | quote }}}
{{- end }}
{{- end -}}

{{/* Where `helm test` runs. */}}
{{- define "vectoll.testNamespace" -}}
{{- $injected := without .Values.watchNamespaces .Release.Namespace "kube-system" -}}
{{- if eq .Values.test.namespace .Release.Namespace -}}
{{- fail "test.namespace: nothing is injected in the release's own namespace" -}}
{{- else if .Values.test.namespace -}}
{{- .Values.test.namespace -}}
{{- else if $injected -}}
{{- first $injected -}}
{{- else if .Values.watchNamespaces -}}
{{- fail "watchNamespaces: nothing is injected in the release's own namespace or kube-system; name another one" -}}
{{- else -}}
{{- include "vectoll.fullname" . }}-test
{{- end -}}
{{- end -}}
