{{/* The gateway's configuration; which operation is whose is in routes.conf, made from the operation table. Logs name no query and no body. */}}
{{- define "kalends.gateway.conf" -}}
{{- $name := include "kalends.fullname" . -}}
{{- $settings := include "kalends.settings" . | fromYaml -}}
{{- $tls := .Values.tls.existingSecret -}}
worker_processes 2;
pid /var/tmp/nginx.pid;
error_log /dev/stderr warn;
events { worker_connections 4096; }
http {
  server_tokens off;
  access_log off;
  client_body_temp_path /var/tmp/body;
  proxy_temp_path /var/tmp/proxy;
  fastcgi_temp_path /var/tmp/fastcgi;
  uwsgi_temp_path /var/tmp/uwsgi;
  scgi_temp_path /var/tmp/scgi;
  client_max_body_size {{ int64 (default 4194304 $settings.http.body_bytes) }};
  client_body_buffer_size 1m;
  keepalive_timeout 75s;
  {{- range $role := list "ingest" "index" "search" "summarize" "scheduler" }}
  upstream {{ $role }} {
    server {{ $name }}-{{ $role }}.{{ $.Release.Namespace }}.svc:{{ $settings.http.port }};
    keepalive 32;
  }
  {{- end }}
  # long work is known to the role that does it: who does not know it says 404, and the next is asked
  upstream operations {
    {{- range $role := list "index" "ingest" "summarize" }}
    server {{ $name }}-{{ $role }}.{{ $.Release.Namespace }}.svc:{{ $settings.http.port }};
    {{- end }}
  }
  include /etc/kalends/routes.conf;
  server {
    listen 8080{{ if $tls }} ssl{{ end }};
    {{- if $tls }}
    ssl_certificate /run/kalends/tls/tls.crt;
    ssl_certificate_key /run/kalends/tls/tls.key;
    ssl_protocols TLSv1.3;
    {{- end }}
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_read_timeout {{ add (ceil (default 30 $settings.http.deadline_s)) 10 }}s;
    proxy_request_buffering off;
    {{- if $tls }}
    proxy_ssl_trusted_certificate /run/kalends/tls/ca.crt;
    proxy_ssl_verify on;
    proxy_ssl_verify_depth 3;
    proxy_ssl_name {{ $name }}.{{ .Release.Namespace }}.svc;
    proxy_ssl_server_name on;
    proxy_ssl_protocols TLSv1.3;
    {{- end }}
    location / {
      proxy_pass {{ include "kalends.scheme" . }}://$kalends_role;
    }
    location ^~ /v1/operations/ {
      proxy_pass {{ include "kalends.scheme" . }}://operations;
      proxy_next_upstream error timeout http_404;
      proxy_next_upstream_tries 3;
    }
  }
  server {
    listen 8081;
    location = /livez { return 200 "alive\n"; }
  }
}
{{ end -}}
