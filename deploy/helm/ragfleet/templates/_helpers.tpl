{{- define "ragfleet.name" -}}
{{ printf "%s-%s" .Release.Name .part | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "ragfleet.selector" -}}
app.kubernetes.io/name: ragfleet
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "ragfleet.labels" -}}
{{ include "ragfleet.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "ragfleet.image" -}}
{{ .Values.image.registry }}ragfleet-{{ .image }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "ragfleet.milvus" -}}
{{- if .Values.milvusAddress }}{{ .Values.milvusAddress }}
{{- else if .Values.milvus.enabled }}http://{{ .Release.Name }}-milvus:19530
{{- else }}{{ fail "milvusAddress is empty and milvus.enabled is false: name a Milvus" }}
{{- end }}
{{- end }}

{{- /* Both images run as user 10001 on a read-only root. */ -}}
{{- define "ragfleet.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: { type: RuntimeDefault }
{{- end }}

{{- define "ragfleet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{- /* The agent of this pod's node. */ -}}
{{- define "ragfleet.consulEnv" -}}
- name: HOST_IP
  valueFrom: { fieldRef: { fieldPath: status.hostIP } }
- name: RAGFLEET_CONSUL_URL
  value: http://$(HOST_IP):{{ .Values.consulAgent.port }}
{{- end }}

{{- define "ragfleet.moreEnv" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- /* One file for each of these keys of the Secret. */ -}}
{{- define "ragfleet.secretVolume" -}}
- name: secrets
  secret:
    secretName: {{ .Values.secrets.name }}
    defaultMode: 0440
    items:
      {{- range .keys }}
      - { key: {{ . }}, path: {{ . }} }
      {{- end }}
{{- end }}
