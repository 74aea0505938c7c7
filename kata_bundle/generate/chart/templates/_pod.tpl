{{- /* What the installer's pods have in common in both modes: mounts, volumes, security, checksums. */ -}}

{{- define "kata.volumeMounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: crio-conf, mountPath: /etc/crio/}
- {name: containerd-conf, mountPath: /etc/containerd/}
- name: install
  mountPath: {{ include "kata.dest" . | quote }}
- {name: systemd-units, mountPath: /etc/systemd/system}
- {name: systemd-private, mountPath: /run/systemd/private}
- {name: boot, mountPath: /boot, readOnly: true}
- {name: machine-id, mountPath: /host-machine-id, readOnly: true}
- {name: run-lock, mountPath: /host-run-lock}
- {name: usr-bin, mountPath: /host-usr/bin, readOnly: true}
- {name: usr-sbin, mountPath: /host-usr/sbin, readOnly: true}
- {name: usr-local-bin, mountPath: /host-usr-local/bin, readOnly: true}
- {name: usr-local-sbin, mountPath: /host-usr-local/sbin, readOnly: true}
- {name: bin, mountPath: /host-bin, readOnly: true}
- {name: sbin, mountPath: /host-sbin, readOnly: true}
{{- range $inside, $_ := include "kata.socketDirectories" . | fromJson }}
- name: {{ printf "cri%s" ($inside | replace "/" "-") }}
  mountPath: {{ $inside | quote }}
  readOnly: true
  mountPropagation: HostToContainer
{{- end }}
{{- if (.Values.containerd).userDropIn }}
- {name: user-drop-in, mountPath: /custom-containerd-config/, readOnly: true}
{{- end }}
{{- if include "kata.configMap" . | fromJson }}
- {name: custom-configs, mountPath: /custom-configs/, readOnly: true}
{{- end }}
{{- if and .Values.bundle .Values.bundleCredentials }}
- {name: bundle-credentials, mountPath: /bundle-credentials, readOnly: true}
{{- end }}
{{- end -}}

{{- define "kata.volumes" -}}
- name: tmp
  emptyDir: {}
- name: crio-conf
  hostPath: {path: /etc/crio/, type: DirectoryOrCreate}
- name: containerd-conf
  hostPath:
    path: {{ include "kata.containerdDirectory" . | quote }}
    type: DirectoryOrCreate
- name: install
  hostPath:
    path: {{ include "kata.dest" . | quote }}
    type: DirectoryOrCreate
- name: systemd-units
  hostPath: {path: /etc/systemd/system, type: DirectoryOrCreate}
- name: systemd-private
  hostPath: {path: /run/systemd/private, type: Socket}
- name: boot
  hostPath: {path: /boot}
- name: machine-id
  hostPath: {path: /etc/machine-id, type: File}
- name: run-lock
  hostPath: {path: /run/lock, type: DirectoryOrCreate}
{{- range $name, $path := dict "usr-bin" "/usr/bin" "usr-sbin" "/usr/sbin" "usr-local-bin" "/usr/local/bin" "usr-local-sbin" "/usr/local/sbin" "bin" "/bin" "sbin" "/sbin" }}
- name: {{ $name }}
  hostPath: {path: {{ $path }}}
{{- end }}
{{- range $inside, $outside := include "kata.socketDirectories" . | fromJson }}
- name: {{ printf "cri%s" ($inside | replace "/" "-") }}
  hostPath:
    path: {{ $outside | quote }}
    type: DirectoryOrCreate
{{- end }}
{{- if (.Values.containerd).userDropIn }}
- name: user-drop-in
  configMap:
    name: {{ printf "kata-deploy-containerd%s" (include "kata.ending" .) }}
{{- end }}
{{- if include "kata.configMap" . | fromJson }}
- name: custom-configs
  configMap:
    name: {{ printf "kata-deploy-custom%s" (include "kata.ending" .) }}
{{- end }}
{{- if and .Values.bundle .Values.bundleCredentials }}
- name: bundle-credentials
  secret:
    secretName: {{ .Values.bundleCredentials | quote }}
    items: [{key: .dockerconfigjson, path: config.json}]
{{- end }}
{{- end -}}

{{- define "kata.security" -}}
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsUser: 0
runAsGroup: 0
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- /* For pods that only talk to the Kubernetes API. */ -}}
{{- define "kata.apiOnlySecurity" -}}
privileged: false
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- /* Changed files roll the pods; annotations of the operator cannot hide that. */ -}}
{{- define "kata.annotations" -}}
{{- $checksums := dict "checksum/custom-configs" (include "kata.configMap" . | sha256sum) "checksum/user-drop-in" ((.Values.containerd).userDropIn | default "" | sha256sum) -}}
{{- toJson (merge $checksums (.Values.podAnnotations | default dict)) -}}
{{- end -}}

{{- define "kata.podLabels" -}}
{{- toJson (merge (dict "name" (include "kata.name" .)) (.Values.podLabels | default dict)) -}}
{{- end -}}

{{- define "kata.probe" -}}
httpGet:
  path: {{ .path }}
  port: health
{{- range $key := list "initialDelaySeconds" "periodSeconds" "failureThreshold" "timeoutSeconds" "successThreshold" "terminationGracePeriodSeconds" }}
{{- if hasKey $.probe $key }}
{{ $key }}: {{ int (get $.probe $key) }}
{{- end }}
{{- end }}
{{- end -}}
