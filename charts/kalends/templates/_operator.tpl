{{- define "kalends.operator.variables" -}}
{{- $settings := include "kalends.settings" . | fromYaml -}}
- {name: KALENDS_OPERATOR_URL, value: {{ include "kalends.url" . | quote }}}
- {name: KALENDS_OPERATOR_TOKEN_FILE, value: /run/kalends/credentials/token}
- {name: KALENDS_OPERATOR_TENANT, value: {{ dig "auth" "tenant" "local" $settings | quote }}}
{{- /* of a broker that does not know agents by their keys nothing is said to pods */}}
{{- if or .Values.nats.agents (not .Values.nats.enabled) }}
- {name: KALENDS_OPERATOR_NATS_URL, value: {{ $settings.log.url | quote }}}
{{- end }}
- {name: KALENDS_OPERATOR_LEASE_NAME, value: {{ include "kalends.fullname" . }}-operator}
- {name: KALENDS_OPERATOR_LEASE_NAMESPACE, value: {{ .Release.Namespace }}}
- {name: KALENDS_OPERATOR_METRICS_PORT, value: "7421"}
{{- with .Values.operator.namespaces }}
- {name: KALENDS_OPERATOR_NAMESPACES, value: {{ join "," . | quote }}}
{{- end }}
{{- if .Values.tls.existingSecret }}
- {name: KALENDS_OPERATOR_CA_FILE, value: /run/kalends/tls/ca.crt}
{{- end }}
{{- end -}}
