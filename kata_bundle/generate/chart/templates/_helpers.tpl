{{- /* Names, the choice of shims, and the placement of pods. Every helper that returns data returns JSON. */ -}}

{{- define "kata.suffix" -}}
{{- $suffix := (.Values.env).multiInstallSuffix | default "" -}}
{{- if and $suffix (not (regexMatch "^[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?$" $suffix)) -}}
{{- fail (printf "env.multiInstallSuffix %q is not 1 to 30 lower-case letters, digits and inner hyphens" $suffix) -}}
{{- end -}}
{{- $suffix -}}
{{- end -}}

{{- define "kata.ending" -}}
{{- with include "kata.suffix" . }}-{{ . }}{{ end -}}
{{- end -}}

{{- define "kata.name" -}}
kata-deploy{{ include "kata.ending" . }}
{{- end -}}

{{- define "kata.instance" -}}
{{- include "kata.suffix" . | default "default" -}}
{{- end -}}

{{- define "kata.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.Version | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "kata.dest" -}}
{{- $prefix := (.Values.env).installationPrefix | default "" -}}
{{- if and $prefix (not (hasPrefix "/" $prefix)) -}}
{{- fail (printf "env.installationPrefix %q does not begin with /" $prefix) -}}
{{- end -}}
{{ trimSuffix "/" $prefix }}/opt/kata{{ include "kata.ending" . }}
{{- end -}}

{{- /* An image: reference alone when it carries a digest, else reference:tag. */ -}}
{{- define "kata.reference" -}}
{{- if contains "@" .reference -}}{{ .reference }}{{- else -}}{{ .reference }}:{{ .tag }}{{- end -}}
{{- end -}}

{{- define "kata.image" -}}
{{- include "kata.reference" (dict "reference" .Values.image.reference "tag" (.Values.image.tag | default .Chart.Version)) -}}
{{- end -}}

{{- define "kata.dispatcherImage" -}}
{{- $image := (.Values.job).dispatcherImage | default dict -}}
{{- if $image.reference -}}
{{- include "kata.reference" (dict "reference" $image.reference "tag" ($image.tag | default .Chart.Version)) -}}
{{- else -}}
{{- include "kata.image" . -}}
{{- end -}}
{{- end -}}

{{- define "kata.mode" -}}
{{- $mode := .Values.deploymentMode | default "daemonset" -}}
{{- if not (has $mode (list "daemonset" "job")) -}}
{{- fail (printf "deploymentMode %q is neither daemonset nor job" $mode) -}}
{{- end -}}
{{- $mode -}}
{{- end -}}

{{- define "kata.logLevel" -}}
{{- .Values.logLevel | default (ternary "debug" "" (eq (toString .Values.debug) "true")) -}}
{{- end -}}

{{- /* The enabled shims, name to values: enabled null follows disableAll, true and false always win. */ -}}
{{- define "kata.enabled" -}}
{{- $found := dict -}}
{{- $all := not .Values.shims.disableAll -}}
{{- range $name, $shim := .Values.shims -}}
{{- if and (ne $name "disableAll") (kindIs "map" $shim) -}}
{{- if ternary $all $shim.enabled (kindIs "invalid" $shim.enabled) -}}
{{- $_ := set $found $name $shim -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{- /* Custom runtimes, handler to base, snapshotter, pull type, drop-in, and the RuntimeClass as given. */ -}}
{{- define "kata.custom" -}}
{{- $found := dict -}}
{{- if (.Values.customRuntimes).enabled -}}
{{- range $name, $runtime := .Values.customRuntimes.runtimes -}}
{{- $class := dict -}}
{{- with $runtime.runtimeClass -}}
{{- $class = fromYaml . -}}
{{- if hasKey $class "Error" -}}
{{- fail (printf "customRuntimes.runtimes.%s.runtimeClass is no YAML: %s" $name $class.Error) -}}
{{- end -}}
{{- end -}}
{{- $handler := $class.handler | default (printf "kata-%s" $name) -}}
{{- if not $runtime.baseConfig -}}
{{- fail (printf "customRuntimes.runtimes.%s names no baseConfig" $name) -}}
{{- end -}}
{{- if hasKey $found $handler -}}
{{- fail (printf "customRuntimes.runtimes.%s: another custom runtime has the handler %q" $name $handler) -}}
{{- end -}}
{{- $_ := set $found $handler (dict
  "base" $runtime.baseConfig "snapshotter" (($runtime.containerd).snapshotter | default "")
  "pullType" (($runtime.crio).pullType | default "") "dropIn" ($runtime.dropIn | default "")
  "class" $class "inherit" (ne (toString $runtime.inheritBaseOverhead) "false")) -}}
{{- end -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{- /* Whether anything is pulled inside a guest: only then the kubelet's time-out matters. */ -}}
{{- define "kata.pullsInGuest" -}}
{{- range $name, $shim := include "kata.enabled" . | fromJson -}}
{{- if or ($shim.containerd).forceGuestPull ($shim.crio).guestPull -}}yes{{- end -}}
{{- end -}}
{{- range $handler, $runtime := include "kata.custom" . | fromJson -}}
{{- if $runtime.pullType -}}yes{{- end -}}
{{- end -}}
{{- end -}}

{{- define "kata.configMap" -}}
{{- $data := dict -}}
{{- $lines := list -}}
{{- range $handler, $runtime := include "kata.custom" . | fromJson -}}
{{- $lines = append $lines (printf "%s:%s:%s:%s" $handler $runtime.base $runtime.snapshotter $runtime.pullType) -}}
{{- with $runtime.dropIn -}}{{- $_ := set $data (printf "dropin-%s.toml" $handler) . -}}{{- end -}}
{{- end -}}
{{- with $lines -}}{{- $_ := set $data "custom-runtimes.list" (printf "%s\n" (join "\n" .)) -}}{{- end -}}
{{- range $name, $shim := include "kata.enabled" . | fromJson -}}
{{- with $shim.dropIn -}}{{- $_ := set $data (printf "dropin-%s.toml" $name) . -}}{{- end -}}
{{- end -}}
{{- toJson $data -}}
{{- end -}}

{{- /* Host directory mounted at /etc/containerd/ of the container, without white space around it. */ -}}
{{- define "kata.containerdDirectory" -}}
{{- $known := dict "k3s" "/var/lib/rancher/k3s/agent/etc/containerd/" "rke2" "/var/lib/rancher/rke2/agent/etc/containerd/" "k0s" "/etc/k0s/" "microk8s" "/var/snap/microk8s/current/args/" -}}
{{- (.Values.containerd).configDir | default (get $known .Values.k8sDistribution) | default "/etc/containerd/" -}}
{{- end -}}

{{- /* Directories of CRI sockets, path in the container to path on the host. Directories, since a restart makes a new socket. */ -}}
{{- define "kata.socketDirectories" -}}
{{- $found := dict "/run/containerd" "/run/containerd" "/run/crio" "/run/crio" -}}
{{- if has .Values.k8sDistribution (list "k3s" "rke2") -}}
{{- $found = dict "/run/k3s/containerd" "/run/k3s/containerd" -}}
{{- else if eq .Values.k8sDistribution "k0s" -}}
{{- $found = dict "/run/k0s" "/run/k0s" -}}
{{- else if eq .Values.k8sDistribution "microk8s" -}}
{{- $found = dict "/var/snap/microk8s/common/run" "/var/snap/microk8s/common/run" -}}
{{- end -}}
{{- with (.Values.containerd).runtimeSocket -}}
{{- $at := "/run/containerd" -}}
{{- range $path, $_ := $found -}}{{- if ne $path "/run/crio" -}}{{- $at = $path -}}{{- end -}}{{- end -}}
{{- $_ := set $found $at (dir (trimPrefix "unix://" .)) -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{- /* Whether node feature discovery's rules can be there. */ -}}
{{- define "kata.discovery" -}}
{{- $here := .Capabilities.APIVersions.Has "nfd.k8s-sigs.io/v1alpha1/NodeFeatureRule" -}}
{{- if and (index .Values "node-feature-discovery").enabled (not $here) -}}
{{- fail "node-feature-discovery.enabled is true, but the cluster has no NodeFeatureRule kind: this chart does not bring node feature discovery, install it first (offline: helm template --api-versions nfd.k8s-sigs.io/v1alpha1/NodeFeatureRule)" -}}
{{- end -}}
{{- if $here -}}yes{{- end -}}
{{- end -}}

{{- define "kata.featureRules" -}}
{{- $create := toString (.Values.nodeFeatureRules).create -}}
{{- if or (eq $create "true") (and (eq $create "auto") (include "kata.discovery" .)) -}}yes{{- end -}}
{{- end -}}

{{- /* Required node affinity terms: the operator's, each joined with each of the terms that ask for virtualization. */ -}}
{{- define "kata.terms" -}}
{{- $node := (.Values.affinity).nodeAffinity | default dict -}}
{{- $terms := ($node.requiredDuringSchedulingIgnoredDuringExecution | default dict).nodeSelectorTerms | default list -}}
{{- if and (index .Values "node-feature-discovery").enabled (include "kata.discovery" .) -}}
{{- $able := list
  (list (dict "key" "feature.node.kubernetes.io/cpu-cpuid.VMX" "operator" "In" "values" (list "true")))
  (list (dict "key" "feature.node.kubernetes.io/cpu-cpuid.SVM" "operator" "In" "values" (list "true")))
  (list (dict "key" "kubernetes.io/arch" "operator" "In" "values" (list "arm64" "s390x" "ppc64le" "riscv64"))) -}}
{{- $joined := list -}}
{{- range $term := $terms | default (list dict) -}}
{{- range $more := $able -}}
{{- $joined = append $joined (merge (dict "matchExpressions" (concat ($term.matchExpressions | default list) $more)) $term) -}}
{{- end -}}
{{- end -}}
{{- $terms = $joined -}}
{{- end -}}
{{- toJson $terms -}}
{{- end -}}

{{- define "kata.affinity" -}}
{{- $affinity := deepCopy (.Values.affinity | default dict) -}}
{{- with include "kata.terms" . | fromJsonArray -}}
{{- $node := merge (dict "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" .)) (omit ($affinity.nodeAffinity | default dict) "requiredDuringSchedulingIgnoredDuringExecution") -}}
{{- $_ := set $affinity "nodeAffinity" $node -}}
{{- end -}}
{{- toJson $affinity -}}
{{- end -}}

{{- /* Label selectors, to be united, of "labels" and node affinity "terms". */ -}}
{{- define "kata.selectors" -}}
{{- $equal := list -}}
{{- range $key, $value := .labels -}}{{- $equal = append $equal (printf "%s=%s" $key (toString $value)) -}}{{- end -}}
{{- $found := list -}}
{{- range $term := .terms -}}
{{- if $term.matchFields -}}
{{- fail "matchFields cannot be used with deploymentMode job: name nodes with job.nodes" -}}
{{- end -}}
{{- $parts := $equal -}}
{{- range $one := $term.matchExpressions -}}
{{- if eq $one.operator "In" -}}
{{- $parts = append $parts (printf "%s in (%s)" $one.key (join "," $one.values)) -}}
{{- else if eq $one.operator "NotIn" -}}
{{- $parts = append $parts (printf "%s notin (%s)" $one.key (join "," $one.values)) -}}
{{- else if eq $one.operator "Exists" -}}
{{- $parts = append $parts $one.key -}}
{{- else if eq $one.operator "DoesNotExist" -}}
{{- $parts = append $parts (printf "!%s" $one.key) -}}
{{- else -}}
{{- fail (printf "the operator %s cannot be used with deploymentMode job: name nodes with job.nodes" $one.operator) -}}
{{- end -}}
{{- end -}}
{{- if $parts -}}{{- $found = append $found (join "," $parts) -}}{{- end -}}
{{- end -}}
{{- if and $equal (not .terms) -}}{{- $found = list (join "," $equal) -}}{{- end -}}
{{- toJson $found -}}
{{- end -}}
