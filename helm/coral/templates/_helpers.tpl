{{- define "coral.labels" -}}
app.kubernetes.io/name: coral-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "coral.selector" -}}
app.kubernetes.io/name: coral-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "coral.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (printf "%s-coral-operator" .Release.Name) }}
{{- end }}
