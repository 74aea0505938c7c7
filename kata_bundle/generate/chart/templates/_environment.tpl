{{- /* The installer's environment variables. Those of an architecture are always all there for it: an empty list of shims means none. */ -}}
{{- define "kata.environment" -}}
{{- $enabled := include "kata.enabled" . | fromJson -}}
{{- $default := .Values.defaultShim | default dict -}}
- name: NODE_NAME
  valueFrom:
    fieldRef:
      fieldPath: spec.nodeName
- name: DAEMONSET_NAME
  value: {{ include "kata.name" . | quote }}
- name: DEBUG
  value: {{ eq (toString .Values.debug) "true" | quote }}
{{- if and (eq (toString .Values.debug) "true") .Values.devkit }}
- name: DEVKIT
  value: "true"
{{- end }}
{{- range $arch := list "amd64" "arm64" "s390x" "ppc64le" }}
{{- $ending := get (dict "amd64" "X86_64" "arm64" "AARCH64" "s390x" "S390X" "ppc64le" "PPC64LE") $arch }}
{{- $shims := list }}{{- $annotations := list }}{{- $snapshotters := list }}{{- $pulls := list }}{{- $forced := list }}
{{- $https := list }}{{- $no := list }}
{{- range $name, $shim := $enabled }}
{{- if has $arch ($shim.supportedArches | default list) }}
{{- $shims = append $shims $name }}
{{- with $shim.allowedHypervisorAnnotations }}{{- $annotations = append $annotations (printf "%s:%s" $name (join "," .)) }}{{- end }}
{{- with ($shim.containerd).snapshotter }}{{- $snapshotters = append $snapshotters (printf "%s:%s" $name .) }}{{- end }}
{{- if or ($shim.crio).guestPull ($shim.containerd).forceGuestPull }}{{- $pulls = append $pulls (printf "%s:guest-pull" $name) }}{{- end }}
{{- if ($shim.containerd).forceGuestPull }}{{- $forced = append $forced $name }}{{- end }}
{{- with ($shim.agent).httpsProxy }}{{- $https = append $https (printf "%s=%s" $name .) }}{{- end }}
{{- with ($shim.agent).noProxy }}{{- $no = append $no (printf "%s=%s" $name .) }}{{- end }}
{{- end }}
{{- end }}
- name: SHIMS_{{ $ending }}
  value: {{ join " " $shims | quote }}
{{- $chosen := get $default $arch }}
{{- if and $chosen (has $chosen $shims) }}
- name: DEFAULT_SHIM_{{ $ending }}
  value: {{ $chosen | quote }}
{{- end }}
{{- range $pair := list
  (list "ALLOWED_HYPERVISOR_ANNOTATIONS" (join " " $annotations))
  (list "SNAPSHOTTER_HANDLER_MAPPING" (join "," $snapshotters))
  (list "PULL_TYPE_MAPPING" (join "," $pulls))
  (list "EXPERIMENTAL_FORCE_GUEST_PULL" (join "," $forced))
  (list "AGENT_HTTPS_PROXY" (join ";" $https))
  (list "AGENT_NO_PROXY" (join ";" $no)) }}
{{- if index $pair 1 }}
- name: {{ index $pair 0 }}_{{ $ending }}
  value: {{ index $pair 1 | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- $setup := (.Values.snapshotter).setup | default list }}
{{- range $pair := list
  (list "EXPERIMENTAL_SETUP_SNAPSHOTTER" (join "," $setup))
  (list "EROFS_MERGE_MODE" (.Values.snapshotter).erofsMergeMode)
  (list "EROFS_SNAPSHOTTER_MODE" (.Values.snapshotter).erofsSnapshotterMode)
  (list "EROFS_DMVERITY" (ternary "dmverity" "" (eq (toString (.Values.snapshotter).erofsDmverity) "true")))
  (list "INSTALLATION_PREFIX" (.Values.env).installationPrefix)
  (list "MULTI_INSTALL_SUFFIX" (include "kata.suffix" .))
  (list "K8S_DISTRIBUTION" (ternary "" .Values.k8sDistribution (ne ((.Values.containerd).configDir | default "") "")))
  (list "CONTAINERD_CONFIG_FILE_NAME" (.Values.containerd).configFileName)
  (list "CONTAINERD_USER_DROP_IN_SOURCE_FILE" (ternary "/custom-containerd-config/containerd-user-dropin.toml" "" (ne ((.Values.containerd).userDropIn | default "") "")))
  (list "CUSTOM_RUNTIMES_ENABLED" (ternary "true" "" (ne (include "kata.custom" . | fromJson | len) 0)))
  (list "STARTUP_TAINTS" (join "," (.Values.startupTaints | default list)))
  (list "KATA_BUNDLE_PAYLOAD" .Values.bundle)
  (list "DOCKER_CONFIG" (ternary "/bundle-credentials" "" (and (ne (.Values.bundle | default "") "") (ne (.Values.bundleCredentials | default "") ""))))
  (list "KATA_BUNDLE_EVENTS" (ternary "true" "" (and (eq (toString .Values.events) "true") (eq (include "kata.mode" .) "daemonset"))))
  (list "HEALTH_PORT" (ternary (toString (int (.Values.health).port)) "" (eq (include "kata.mode" .) "daemonset"))) }}
{{- if index $pair 1 }}
- name: {{ index $pair 0 }}
  value: {{ index $pair 1 | quote }}
{{- end }}
{{- end }}
{{- end -}}
