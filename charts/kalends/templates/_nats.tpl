{{/* What NATS is told. Passwords are in files of their own, from the Secret: nothing here and in the ConfigMap is secret. */}}

{{- define "kalends.nats.auth" -}}
authorization: {
  timeout: 5
  users: [{user: "kalends", password: "{{ .password }}"}]
}
{{ end -}}

{{/* Takes root and password. */}}
{{- define "kalends.nats.cluster" -}}
{{- $name := include "kalends.fullname" .root -}}
authorization: {user: "routes", password: "{{ .password }}", timeout: 5}
routes: [
{{- range $number := until (int .root.Values.nats.replicas) }}
  "nats-route://routes:{{ $.password }}@{{ $name }}-nats-{{ $number }}.{{ $name }}-nats-nodes.{{ $.root.Release.Namespace }}.svc:6222"
{{- end }}
]
{{ end -}}

{{- define "kalends.nats.conf" -}}
{{- $gibi := .Values.nats.storage.size | trimSuffix "Gi" | int64 -}}
{{- $room := div (mul $gibi 1073741824 9) 10 -}}
{{- $log := (include "kalends.settings" . | fromYaml).log -}}
{{- $wanted := add (mul (int64 $log.max_bytes) (int64 (default 1 $log.partitions))) (int64 (default 2147483648 $log.keys_max_bytes)) 13421772800 -}}
{{- if gt $wanted $room -}}
{{- fail (printf "nats.storage.size %s is too small: settings.log.max_bytes times partitions, and what is kept beside it, reserve %d bytes of the %d that streams may have" .Values.nats.storage.size $wanted $room) -}}
{{- end -}}
server_name: $POD_NAME
listen: "0.0.0.0:4222"
http: "0.0.0.0:8222"
max_payload: 8388608
max_pending: 67108864
write_deadline: "10s"
lame_duck_grace_period: "5s"
lame_duck_duration: "30s"
pid_file: "/etc/nats/users/nats.pid"
include "../users/auth.conf"
jetstream: {
  store_dir: "/data"
  sync_interval: always
  max_memory_store: 67108864
  max_file_store: {{ $room }}
}
{{- if .Values.nats.tlsSecret }}
tls: {
  cert_file: "/etc/nats/tls/tls.crt"
  key_file: "/etc/nats/tls/tls.key"
  min_version: "1.3"
  timeout: 5
}
{{- end }}
{{- if gt (int .Values.nats.replicas) 1 }}
cluster: {
  name: "{{ include "kalends.fullname" . }}"
  listen: "0.0.0.0:6222"
  {{- if .Values.nats.tlsSecret }}
  tls: {
    cert_file: "/etc/nats/tls/tls.crt"
    key_file: "/etc/nats/tls/tls.key"
    ca_file: "/etc/nats/tls/ca.crt"
    verify: true
    timeout: 5
  }
  {{- end }}
  include "../secret/cluster.conf"
}
{{- end }}
{{ end -}}
