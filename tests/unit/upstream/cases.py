"""Mistakes that the rules for upstream trees find, and look-alikes that they leave alone: tables for tests and for the pages."""

# ruff: noqa: E501 - tables of texts

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fixtures.upstreamtrees import UpstreamFiles

MAP = "shim-components.json"
INSTALL = "install.rs"
SYSTEM = "system.rs"
CONFIG = "config.rs"
VALUES = "kata-deploy/values.yaml"
PROFILE = "try-kata-tee.values.yaml"
OVERHEADS = "runtimeclasses.yaml"
RELEASE = "kata-release-tarball-inputs.sh"
MAKE = "local-build/Makefile"
SCRIPT = "kata-deploy-binaries.sh"
SHIM = "shim-v2/build.sh"
AMD64 = "build-kata-static-tarball-amd64.yaml"
ARM64 = "build-kata-static-tarball-arm64.yaml"
TESTS = "run-k8s-tests.yaml"
GO = "src/runtime/Makefile"
RUST = "src/runtime-rs/Makefile"
QEMU = "configuration-qemu.toml.in"
SNP = "configuration-qemu-snp.toml.in"
TDX = "configuration-qemu-tdx.toml.in"
CLH = "configuration-clh.toml.in"
QEMU_RS = "configuration-qemu-runtime-rs.toml.in"

Change = tuple[str, str, str]


@dataclass(frozen=True)
class Case:
    code: str
    changes: list[Change]
    at: tuple[str, str] | None = None
    """File, and a text of the line (after the changes); ``None``: nothing is found."""
    says: tuple[str, ...] = ()
    tree: str = "today"
    name: str = field(default="")

    def build(self) -> UpstreamFiles:
        files = UpstreamFiles(self.tree)
        for name, old, new in self.changes:
            files.replace(name, old, new)
        return files


BAD = [
    Case("KB601", [(INSTALL, '    "qemu-tdx",\n];', "];")], (INSTALL, "ALL_SHIMS"), ('"qemu-tdx"', "the installer's list")),
    Case("KB601", [(OVERHEADS, '  "clh" (dict "memory" "130Mi" "cpu" "250m")\n', "")], (OVERHEADS, "toYaml"), ('"clh"',)),
    Case("KB601", [(VALUES, "  clh:", "  chl:")], (VALUES, "shims:"), ('"clh"', "the chart's values")),
    Case("KB601", [("runtimeclasses/kata-qemu.yaml", "name: kata-qemu", "name: kata-quemu")], ("kata-deploy.sh", "SHIMS="), ('"qemu"',), "shell"),
    Case("KB602", [(VALUES, "  clh:", "  chl:")], (VALUES, "  chl:"), ('"chl"', "no other")),
    Case("KB602", [(INSTALL, '    "clh",\n    // QEMU', '    "clh",\n    "oldvmm",\n    // QEMU')], (INSTALL, "oldvmm"), ('"oldvmm"',)),
    Case("KB602", [("kata-deploy.sh", "dragonball qemu qemu-snp", "dragonball qemu qemu-snpp")], ("kata-deploy.sh", "SHIMS="), ("qemu-snpp",), "shell"),
    Case("KB603", [(INSTALL, '    "qemu",\n', '    "qemu",\n    "qemu",\n')], (INSTALL, '"qemu",'), ("twice",)),
    Case("KB603", [(MAP, '"qemu", "virtiofsd", "kernel", "rootfs-image"]', '"qemu", "virtiofsd", "kernel", "kernel", "rootfs-image"]')], (MAP, '"kernel", "kernel"'), ("twice",)),
    Case("KB603", [(OVERHEADS, '  "clh" (dict', '  "qemu" (dict "memory" "1Mi" "cpu" "1")\n  "clh" (dict')], (OVERHEADS, '"qemu" (dict "memory" "320Mi"'), ("twice",)),
    Case("KB603", [(AMD64, "          - kernel\n", "          - kernel\n          - kernel\n")], (AMD64, "- kernel"), ("twice",)),
    Case("KB604", [("kata-cleanup.yaml", "dragonball qemu qemu-snp", "dragonball qemu")], ("kata-cleanup.yaml", "name: SHIMS"), ('"qemu-snp"', "cleans up"), "shell"),
    Case("KB604", [("kata-deploy/values.yaml", "dragonball qemu qemu-snp", "dragonball qemu")], ("kata-deploy/values.yaml", "shims:"), ('"qemu-snp"',), "shell"),
    Case("KB606", [(TESTS, '"clh", "qemu", "qemu-runtime-rs"', '"clh", "qemu", "qemu-runtime"')], (TESTS, "vmm: ["), ('"qemu-runtime"',)),
    Case("KB606", [(TESTS, "- vmm: qemu-snp", "- vmm: qemu-snpp")], (TESTS, "- vmm:"), ('"qemu-snpp"',)),
    Case("KB606", [("nginx-qemu.yaml", "kata-qemu", "kata-kemu")], ("nginx-qemu.yaml", "kata-kemu"), ('"kata-kemu"',)),
    Case("KB611", [(VALUES, "  clh:\n    enabled: ~\n    supportedArches:\n      - amd64\n", "  clh:\n    enabled: ~\n    supportedArches:\n      - amd64\n      - arm64\n")], (VALUES, "- arm64"), ('"clh"', "arm64")),
    Case("KB612", [(VALUES, "      - amd64\n      - arm64\n", "      - amd64\n"), (VALUES, "  arm64: qemu\n", "")], (MAP, '"aarch64"'), ('"qemu"', "aarch64")),
    Case("KB613", [(VALUES, "defaultShim:\n  amd64: qemu", "defaultShim:\n  amd64: qemu-vsnp")], (VALUES, "amd64: qemu-vsnp"), ("is not a shim",)),
    Case("KB613", [(VALUES, "  arm64: qemu", "  arm64: clh")], (VALUES, "arm64: clh"), ("supported on amd64",)),
    Case("KB613", [(VALUES, "  qemu:\n    enabled: ~", "  qemu:\n    enabled: false")], (VALUES, "amd64: qemu"), ("disabled",)),
    Case("KB613", [(PROFILE, "  amd64: qemu-snp", "  amd64: qemu")], (PROFILE, "amd64: qemu"), ("not enabled here",)),
    Case("KB614", [(CONFIG, '"aarch64" => "qemu"', '"aarch64" => "qemu clh"')], (CONFIG, '"aarch64" => "qemu clh"'), ('"clh"', "aarch64")),
    Case("KB614", [(CONFIG, "clh qemu qemu-runtime-rs", "clhh qemu qemu-runtime-rs")], (CONFIG, "clhh"), ("is not a shim",)),
    Case("KB614", [(CONFIG, '"x86_64" | "aarch64" => "qemu"', '"x86_64" | "aarch64" => "clh"')], (CONFIG, '"aarch64" => "clh"'), ("not among the default shims",)),
    Case("KB615", [(PROFILE, "  amd64: qemu-snp\n", "  amd64: qemu-snp\n  arm64: qemu-snp\n")], (PROFILE, "arm64:"), ("arm64", "built-in")),
    Case("KB616", [(VALUES, "defaultShim:\n  amd64: qemu\n", "defaultShim:\n  amd64: clh\n")], (CONFIG, '"x86_64" | "aarch64"'), ('"qemu"', '"clh"')),
    Case("KB617", [(VALUES, "      - amd64\n      - arm64\n", "      - amd64\n      - aarch64\n")], (VALUES, "- aarch64"), ('"aarch64"',)),
    Case("KB617", [(MAP, '"aarch64": [', '"arm64": [')], (MAP, '"arm64"'), ('"arm64"',)),
    Case("KB621", [("arch/amd64-options.mk", "CLHCMD := cloud-hypervisor\n", "")], (MAP, '"x86_64": ["shim-v2-go", "cloud-hypervisor"'), ('"clh" on x86_64', "configuration-clh.toml")),
    Case("KB621", [(GO, "config/configuration-qemu-tdx.toml", "config/configuration-qemu-tdxx.toml")], (MAP, '"x86_64": ["shim-v2-go", "qemu", "kernel", "rootfs-image-conf'), ('"qemu-tdx"',)),
    Case("KB621", [(RUST, "ARCH_FILE = arch/", "ARCH_FILE = archs/")], (MAP, '"x86_64": ["shim-v2-rust"'), ('"qemu-runtime-rs"', "invalid architecture")),
    Case("KB622", [(MAP, '["shim-v2-rust", "qemu"', '["shim-v2-go", "qemu"')], (MAP, ['["shim-v2-go", "qemu", "virtiofsd", "kernel", "rootfs-image"]', "    },", '    "qemu-snp"'][0]), ('"qemu-runtime-rs"', "rust")),
    Case("KB622", [(MAP, '["shim-v2-go", "cloud-hypervisor"', '["cloud-hypervisor"')], (MAP, '"x86_64": ["cloud-hypervisor"'), ("no shim component",)),
    Case("KB622", [(MAP, '["shim-v2-go", "cloud-hypervisor"', '["shim-v2-go", "shim-v2-rust", "cloud-hypervisor"')], (MAP, '"shim-v2-rust", "cloud'), ("2 shim components",)),
    Case("KB622", [(SYSTEM, '&["qemu-runtime-rs"]', '&["qemu-runtime-rs", "clh"]')], (SYSTEM, "RUST_SHIMS"), ('"clh"', "no template")),
    Case("KB622", [(SYSTEM, '&["qemu-runtime-rs"]', "&[]")], (SYSTEM, "RUST_SHIMS"), ('"qemu-runtime-rs"',)),
    Case("KB623", [(CLH, "[hypervisor.clh]", "[hypervisor.cloud-hypervisor]")], (CLH, "[hypervisor.cloud-hypervisor]"), ("edits [hypervisor.clh]",)),
    Case("KB623", [(QEMU_RS, '"@HYPERVISOR_QEMU@"', '"clh"')], (QEMU_RS, "hypervisor_name"), ("hypervisor_name",)),
    Case("KB623", [(CLH, "[runtime]", "[hypervisor.other]\n[runtime]")], (CLH, "[hypervisor.clh]"), ("2 hypervisor tables",)),
    Case("KB623", [(INSTALL, '"clh" => Ok("clh")', '"chl" => Ok("clh")')], (INSTALL, '"chl" => Ok("clh")'), ("names no hypervisor",)),
    Case("KB624", [(MAP, '"qemu-snp-experimental", "kernel"', '"qemu", "kernel"')], (MAP, '"x86_64": ["shim-v2-go", "qemu", "kernel", "rootfs-image-confidential", "ovmf-sev"'), ('"qemu-snp"', "snp-experimental")),
    Case("KB624", [(INSTALL, '"qemu-snp" => "qemu-snp-experimental"', '"qemu-sev" => "qemu-snp-experimental"')], (INSTALL, '"qemu-sev" =>'), ('"qemu-snp"',)),
    Case("KB624", [("kata-deploy.sh", "^(qemu-snp)$ ]] && qemu_share=${shim}-experimental", "^(qemu-snp)$ ]] && qemu_share=${shim}-special")], ("kata-deploy.sh", "special"), ("qemu-snp-special",), "shell"),
    Case("KB624", [("kata-deploy.sh", "^(qemu|qemu-snp)$", "^(qemu)$"), ("kata-deploy.sh", '	[[ "${shim}" =~ ^(qemu-snp)$ ]] && qemu_share=${shim}-experimental\n', "")], ("kata-deploy.sh", '"qemu" ]] && qemu_share'), ("leaves the QEMU",), "shell"),
    Case("KB625", [(MAP, '"kernel", "rootfs-image", "ovmf"]', '"kernel", "rootfs-image"]')], (MAP, '"aarch64"'), ('needs "ovmf"', "AAVMF_CODE.fd")),
    Case("KB625", [(GO, "IMAGECONFIDENTIALPATH := $(KERNELDIR)/$(PROJECT_TAG)-confidential.img", "IMAGECONFIDENTIALPATH := $(KERNELDIR)/$(PROJECT_TAG)-coco.img")], (SNP, "image ="), ("kata-containers-coco.img", "no component")),
    Case("KB625", [(MAP, '["shim-v2-go", "cloud-hypervisor", "virtiofsd", "kernel"', '["shim-v2-go", "cloud-hypervisor", "kernel"')], (MAP, '"cloud-hypervisor", "kernel"'), ('needs "virtiofsd"',)),
    Case("KB625", [(AMD64.replace("today", ""), "          - kernel-dragonball-experimental\n", "")], ("configuration-dragonball.toml.in", "kernel ="), ("vmlinux-dragonball-experimental.container",), "shell"),
    Case("KB626", [(MAP, '"rootfs-image-confidential", "ovmf-sev"]', '"rootfs-image-confidential", "virtiofsd", "ovmf-sev"]')], (MAP, '"virtiofsd", "ovmf-sev"'), ('"qemu-snp"', '"virtiofsd"')),
    Case("KB627", [(CLH, 'kernel = "@KERNELPATH@"', 'kernel = "@KERNELPATHS@"')], (CLH, "@KERNELPATHS@"), ("@KERNELPATHS@",)),
    Case("KB627", [(GO, "USER_VARS += DEFMEMSZ\n", "")], (QEMU, "@DEFMEMSZ@"), ("@DEFMEMSZ@",)),
    Case("KB628", [(QEMU, "# The plain guest.", "# Made from @CONFIG_QEMU_IN@.")], (QEMU, "@CONFIG_QEMU_IN@"), ("@CONFIG_QEMU_IN@",)),
    Case("KB629", [("arch/amd64-options.mk", "QEMUSNPCMD := qemu-system-x86_64-snp-experimental\n", "")], (SNP, "path ="), ('"qemu-snp"', '"path"')),
    Case("KB629", [(CLH, 'image = "@IMAGEPATH@"\n', "")], (CLH, "[hypervisor.clh]"), ("neither",)),
    Case("KB629", [(GO, "USER_VARS += KERNELPATH\n", "USER_VARS += KERNELPATH\nUSER_VARS += KERNELPATHX\n"), (CLH, "@KERNELPATH@", "@KERNELPATHX@")], (CLH, "@KERNELPATHX@"), ('"kernel"',)),
    Case("KB630", [(CLH, 'shared_fs = "virtio-fs"', 'shared_fs = "virtio-fs"\nshared_fs = "none"')], (CLH, 'shared_fs = "none"'), ("not TOML",)),
    Case("KB630", [(QEMU, "default_vcpus = @DEFVCPUS@", "default_vcpus = @DEFVCPUSX@"), (GO, "USER_VARS += DEFVCPUS\n", "USER_VARS += DEFVCPUSX\n")], (QEMU, "default_vcpus"), ("not TOML",)),
    Case("KB631", [(GO, "    CONFIGS += config/configuration-qemu-tdx.toml\n", "")], (TDX, "# A confidential guest."), ("never installs",)),
    Case("KB631", [(GO, "config/configuration-clh.toml", "config/configuration-chl.toml")], (GO, "configuration-chl.toml"), ("has no template",)),
    Case("KB632", [(CLH, "@CLHVALIDHYPERVISORPATHS@", "@QEMUVALIDHYPERVISORPATHS@")], (CLH, "valid_hypervisor_paths"), ("valid_hypervisor_paths",)),
    Case("KB633", [(TDX, "@DEFENABLEANNOTATIONS_COCO@", "@DEFENABLEANNOTATIONS@")], (TDX, "enable_annotations"), ('"enable_annotations"', '"qemu-snp"')),
    Case("KB633", [(TDX, "@DEFSTATICRESOURCEMGMT_TEE@", "@DEFSTATICRESOURCEMGMT@")], (TDX, "static_sandbox"), ("static_sandbox_resource_mgmt",)),
    Case("KB634", [(INSTALL, '"clh" => "cloud-hypervisor"', '"clh" => "clh"')], (INSTALL, '"clh" => "clh",'), ("cloud-hypervisor",)),
    Case("KB634", [(INSTALL, '"clh" => "cloud-hypervisor"', '"chl" => "cloud-hypervisor"')], (INSTALL, '"chl" => "cloud'), ('no program for "clh"',)),
    Case("KB635", [(VALUES, "      snapshotter: nydus\n      forceGuestPull: false\n    crio:\n      guestPull: true\n\n  qemu-tdx", '      snapshotter: ""\n\n  qemu-tdx')], (VALUES, ['snapshotter: ""', "", "  qemu-tdx"][0]), ('"qemu-snp"', "guest pull")),
    Case("KB636", [(SNP, "@DEFENABLEANNOTATIONS_COCO@", "@DEFENABLEANNOTATIONS@")], (SNP, "enable_annotations"), ("cc_init_data",)),
    Case("KB637", [(GO, "DEFROOTFSTYPE := ", "DEFROOTFSTYP := "), (QEMU, "rootfs_type=@DEFROOTFSTYPE@", 'rootfs_type="@DEFROOTFSTYPE@"')], (QEMU, "rootfs_type"), ("never sets DEFROOTFSTYPE",)),
    Case("KB638", [(SHIM, '"confidential" "KERNELVERITYPARAMS"', '"base" "KERNELVERITYPARAMS"')], (SNP, "kernel_verity_params"), ("kata-containers.img", "kata-containers-confidential.img")),
    Case("KB638", [(SHIM, '"base" "KERNELVERITYPARAMS"', '"base" "KERNELVERITYPARAM"')], (QEMU_RS, "kernel_verity_params"), ("no build of the rust runtime",)),
    Case("KB638", [(SCRIPT, "	base\n", "")], (SHIM, '"base"'), ('"base"',)),
    Case("KB639", [(SCRIPT, '"kernel-debug" \\', '"kernel" \\')], (SCRIPT, '"kernel" \\'), ('"kernel-debug"', '"kernel"')),
    Case("KB639", [(SCRIPT, 'qemu_suffix="snp-experimental"', 'qemu_suffix="snp"')], (SCRIPT, '"qemu-${qemu_suffix}"'), ('"qemu-snp"',)),
    Case("KB640", [(AMD64, "          - agent\n    steps:", "          - agnet\n    steps:")], (AMD64, "- agnet"), ('"agnet"',)),
    Case("KB641", [(MAP, '"qemu", "virtiofsd", "kernel", "rootfs-image"],', '"qemu", "virtiofsd", "kernell", "rootfs-image"],')], (MAP, '"kernell"'), ('"kernell"',)),
    Case("KB641", [(INSTALL, '"kernel-debug".to_string()', '"kernel-debugg".to_string()')], (INSTALL, "kernel-debugg"), ('"kernel-debugg"',)),
    Case("KB642", [(ARM64, "          - virtiofsd\n", "")], (MAP, '"aarch64"'), ('"virtiofsd"', "aarch64")),
    Case("KB643", [(RELEASE, "kata-static-ovmf-sev.tar.zst\n", "")], (RELEASE, "kata_go_tarball_inputs"), ('"ovmf-sev"',)),
    Case("KB644", [(RELEASE, "kata-static-shim-v2-rust.tar.zst\n", "kata-static-ovmf-sev.tar.zst\nkata-static-shim-v2-rust.tar.zst\n")], (RELEASE, "kata-static-ovmf-sev"), ('"ovmf-sev"', "rust")),
    Case("KB645", [(RELEASE, "kata-static-shim-v2-rust.tar.zst\n", "kata-static-ovmf.tar.zst\nkata-static-shim-v2-rust.tar.zst\n")], (RELEASE, "kata-static-ovmf.tar"), ("no job builds",)),
    Case("KB645", [(RELEASE, "kata-static-virtiofsd", "kata-static-virtiofd")], (RELEASE, "virtiofd"), ("does not know",)),
    Case("KB646", [(AMD64, "          - ovmf-sev\n", "          - ovmf-sve\n")], (AMD64, "ovmf-sve"), ('"ovmf-sve"',)),
    Case("KB646", [(SCRIPT, "	virtiofsd) install", "	virtiofd) install")], (AMD64, "- virtiofsd"), ("does not know",)),
    Case("KB647", [(MAKE, "DEPS := agent-tarball kernel-tarball", "DEPS := agent-tarball kernel")], (MAKE, "kernel"), ('"kernel"', "no such target")),
    Case("KB647", [(SCRIPT, "	virtiofsd) install", "	virtiofd) install")], (MAKE, "virtiofsd-tarball"), ('"virtiofsd"',)),
    Case("KB648", [(MAKE, "shim-v2-go-tarball shim-v2-rust-tarball V=", "shim-v2-go-tarball V=")], (MAKE, "shim-v2-rust-tarball:"), ('"shim-v2-rust"',)),
    Case("KB649", [(SCRIPT, "		kernel\n		qemu\n	)", "		kernel\n		kernel-old\n	)")], (SCRIPT, "kernel-old"), ('"kernel-old"',)),
    Case("KB649", [(SCRIPT, "	kernel-debug\n	qemu", "	kernel-dbg\n	qemu")], (SCRIPT, "kernel-dbg"), ("help",)),
    Case("KB651", [(OVERHEADS, '"130Mi"', '"130MB"')], (OVERHEADS, "130MB"), ("no quantity",)),
    Case("KB651", [(OVERHEADS, '"130Mi"', '"130"')], (OVERHEADS, '"130"'), ("not plausible",)),
    Case("KB651", [(OVERHEADS, '"clh" (dict "memory" "130Mi" "cpu" "250m")', '"clh" (dict "memory" "130Mi" "gpu" "250m")')], (OVERHEADS, '"clh"'), ("no cpu",)),
    Case("KB652", [(OVERHEADS, '"qemu-snp" (dict "memory" "2048Mi"', '"qemu-snp" (dict "memory" "160Mi"')], (OVERHEADS, "160Mi"), ("2048 MiB",)),
    Case("KB653", [("runtimeclasses/kata-qemu.yaml", "handler: kata-qemu", "handler: kata-kemu")], ("runtimeclasses/kata-qemu.yaml", "kata-kemu"), ("handler",), "shell"),
    Case("KB653", [("runtimeclasses/kata-qemu.yaml", "160Mi", "170Mi")], ("kata-runtimeClasses.yaml", "160Mi"), ("differs",), "shell"),
    Case("KB653", [("kata-runtimeClasses.yaml", "    name: kata-qemu-snp", "    name: kata-qemu-sev")], ("runtimeclasses/kata-qemu-snp.yaml", "name: kata-qemu-snp"), ("file of all",), "shell"),
    Case("KB654", [(OVERHEADS, '"qemu" (dict "memory" "320Mi"', '"qemu" (dict "memory" "160Mi"')], (OVERHEADS, '"160Mi"'), ('"qemu-runtime-rs" 320Mi',)),
    Case("KB655", [(ARM64, "          - kernel-debug\n", "")], (INSTALL, '"kernel-debug"'), ("aarch64",)),
    Case("KB656", [(MAP, '"rootfs-image-confidential", "ovmf-sev"', '"rootfs-image-confidential", "rootfs-confidential-image", "ovmf-sev"')], (MAP, '"rootfs-confidential-image"'), ("kata-containers-confidential.img", "is brought by")),
    Case("KB657", [(QEMU, "default_vcpus", "default_vcpu")], (QEMU, "default_vcpu "), ("[hypervisor.qemu]", 'of "qemu"')),
    Case("KB657", [(QEMU, "[agent.@PROJECT_TYPE@]", "[agents.@PROJECT_TYPE@]")], (QEMU, "[agents"), ("the table [agents]",)),
    Case("KB657", [(QEMU, "enable_debug = false", "static_sandbox_resource_mgmt = false")], (QEMU, "static_sandbox_resource_mgmt = false"), ("[agent.kata]",)),
    Case("KB657", [(QEMU_RS, "[runtime]", 'firmware = ""\n[runtime]')], (QEMU_RS, "firmware"), ("rust runtime",)),
    Case("KB657", [(QEMU_RS, "[runtime]", "[factory]\nenable_template = true\n[runtime]")], (QEMU_RS, "[factory]"), ("the table [factory]",)),
    Case("KB657", [(QEMU_RS, "[runtime]", "[runtime]\ncomputed = true")], (QEMU_RS, "computed"), ('"computed"',)),
    Case("KB658", [(QEMU, "default_memory = @DEFMEMSZ@", 'default_memory = "@DEFMEMSZ@"')], (QEMU, "default_memory"), ('the text "2048"', "a whole number of zero or more")),
    Case("KB658", [(GO, "DEFMEMSZ := 2048", "DEFMEMSZ := -1")], (QEMU, "default_memory"), ("-1",)),
    Case("KB658", [(QEMU, "enable_debug = false", "enable_debug = 0")], (QEMU, "enable_debug"), ("true or false",)),
    Case("KB658", [(QEMU_RS, "valid_hypervisor_paths = @QEMUVALIDHYPERVISORPATHS@", 'valid_hypervisor_paths = "@QEMUPATH@"')], (QEMU_RS, "valid_hypervisor_paths"), ("a list of texts",)),
    Case("KB659", [(GO, "IMAGEPATH := $(KERNELDIR)/$(PROJECT_TAG).img", "IMAGEPATH := /usr/share/kata-containers/kata-containers.img")], (QEMU, "@IMAGEPATH@"), ("/opt/kata/share/kata-containers/kata-containers.img",)),
    Case("KB660", [(QEMU_RS, "[runtime]", '[[hypervisor.qemu.guest_extension_images]]\npath = "/x"\n[runtime]')], (QEMU_RS, "guest_extension_images"), ('no "name"',)),
    Case("KB663", [(PROFILE, "snapshotter: nydus", "snapshotter: erofs"), (INSTALL, "const ALL_SHIMS", "// erofs_merge_mode\npub const ALL_SHIMS")], (PROFILE, "snapshotter: erofs"), ('"qemu-snp"',)),
    Case("KB617", [("versions.yaml", "externals:\n", "externals:\n  image:\n    architecture:\n      aarch46:\n        name: ubuntu\n")], ("versions.yaml", "aarch46:"), ('"aarch46"',)),
    Case("KB643", [(RELEASE, "\t\tarm64)", "\t\ts390x)")], (RELEASE, "amd64)"), ("there is no release list", "aarch64")),
    Case("KB616", [(CONFIG, '"x86_64" | "aarch64" => "qemu"', '"x86_64" => "qemu"'), (CONFIG, '        _ => "qemu",\n    }\n}\n', '        _ => "qemu",\n    }\n}\n//'), (CONFIG, '"x86_64" => "qemu",\n        _ => "qemu"', '"x86_64" => "qemu",\n        _ => "clh"')], (CONFIG, '_ => "clh"'), ("aarch64", '"clh"')),
    Case("KB664", [(VALUES, "  clh:\n    enabled: ~", "  clh:\n    enbaled: true")], (VALUES, "enbaled"), ('"enbaled"',)),
    Case("KB664", [(PROFILE, "containerd:", "contianerd:")], (PROFILE, "snapshotter: nydus"), ('"contianerd"',)),
    Case("KB637", [(GO, "DEFVCPUS := 1", "ifeq ($(ARCH),amd64)\nDEFVCPUS := 1\nendif")], (QEMU, "default_vcpus"), ("aarch64", "DEFVCPUS")),
    Case("KB633", [(SNP, "[runtime]", 'vfio_mode = "guest-kernel"\n[runtime]'), (SNP, 'vfio_mode = "guest-kernel"\n[runtime]', '[runtime]\nvfio_mode = "guest-kernel"')], (TDX, "[runtime]"), ("not set", '"guest-kernel"')),
    Case("KB665", [(SCRIPT, "install_ovmf() {", "install_omvf() {")], (SCRIPT, "install_ovmf"), ('"install_ovmf"',)),
    Case("KB646", [(ARM64, "KATA_ASSET: shim-v2-go", "KATA_ASSET: shmi-v2-go")], (ARM64, "KATA_ASSET: shmi-v2-go"), ('"shmi-v2-go"',)),
    Case("KB642", [(ARM64, "KATA_ASSET: shim-v2-go", "KATA_ASSET: ${{ inputs.shim }}")], (MAP, "aarch64"), ('"shim-v2-go"',)),
    Case("KB612", [(VALUES, "  clh:\n    enabled: ~\n    supportedArches:\n      - amd64\n", "  clh:\n    enabled: ~\n    supportedArches:\n")], (MAP, '"x86_64": ["shim-v2-go", "cloud-hypervisor"'), ('"clh"',)),
    Case("KB631", [(GO, "CONFIGS += config/configuration-clh.toml", "CONFIGS += conf/configuration-clh.toml")], (GO, "conf/configuration-clh.toml"), ("conf/configuration-clh.toml",)),
    Case("KB673", [("versions.yaml", "externals:\n", "externals:\n  image:\n    architecture:\n      x86_64:\n        nvidia-gpu:\n          name: ubuntu\n      aarch64:\n        nvidia-gup:\n          name: ubuntu\n")], ("versions.yaml", "nvidia-gup:"), ('"nvidia-gup"', "aarch64")),
    Case("KB666", [(QEMU_RS, "[runtime]", "[agent.kata]\ndial_timeout = 1\n[runtime]")], (QEMU_RS, "dial_timeout"), ("refuses", "[agent.kata]")),
    Case("KB667", [(VALUES, "  qemu-tdx:\n    enabled: ~\n    supportedArches:\n      - amd64\n    containerd:\n      snapshotter: nydus", '  qemu-tdx:\n    enabled: ~\n    supportedArches:\n      - amd64\n    containerd:\n      snapshotter: ""')], (VALUES, 'snapshotter: ""'), ('"qemu-tdx" is ""', '"qemu-snp" "nydus"')),
    Case("KB661", [(PROFILE, "  qemu-tdx:", "  qemu-tdxx:")], (PROFILE, "qemu-tdxx:"), ('"qemu-tdxx"',)),
    Case("KB662", [(PROFILE, "      - amd64\n", "      - amd64\n      - arm64\n")], (PROFILE, "- amd64"), ("amd64, arm64 here",)),
    Case("KB662", [(PROFILE, "forceGuestPull: false", "forceGuestPull: true")], (PROFILE, "forceGuestPull: true"), ("containerd.forceGuestPull",)),
    Case("KB671", [(SCRIPT, '".assets.hypervisor.cloud_hypervisor.version"', '".assets.hypervisor.cloud-hypervisor.version"')], (SCRIPT, "cloud-hypervisor.version"), ("cloud-hypervisor.version",)),
    Case("KB671", [("versions.yaml", "    sev:\n      version", "    sev:\n      tag"), ("versions.yaml", '      version: "edk2"', '      tag: "edk2"')], (SCRIPT, "externals.ovmf"), ("externals.ovmf.*.version",)),
    Case("KB672", [("versions.yaml", "externals:\n", 'externals:\n  conmon:\n    version: "v1"\n')], ("versions.yaml", "conmon:"), ("externals.conmon",)),
    Case("KB672", [("versions.yaml", "externals:\n", 'externals:\n  conmon:\n    version: "v1"\n'), (SCRIPT, "install_ovmf() {", 'install_ovmf() {\n\tget_from_kata_deps ".externals.${2}.version"')], ("versions.yaml", "conmon:"), ("externals.conmon",)),
    Case("KB633", [(QEMU_RS, '["enable_iommu", "kernel_params"]', "[]")], (QEMU_RS, "enable_annotations"), ('"qemu-runtime-rs" is []', "the runtime only")),
    Case("KB668", [(VALUES, "forceGuestPull: false", "forceGuestPull: true")], (VALUES, "forceGuestPull: true"), ('"qemu-snp"', "nydus")),
    Case("KB668", [(VALUES, "      snapshotter: nydus\n      forceGuestPull: false", '      snapshotter: ""\n      forceGuestPull: true'), (PROFILE, "      forceGuestPull: false\n", "")], (PROFILE, "snapshotter: nydus"), ('"qemu-snp"',)),
    Case("KB669", [(OVERHEADS, '"qemu" (dict "memory" "320Mi"', '"qemu" (dict "memory" "98304Mi"')], (OVERHEADS, "98304Mi"), ("98304Mi", "2048 MiB")),
    Case("KB674", [(SCRIPT, "install_ovmf() {", 'install_ovmf() {\n\tlocal component_name="ovmf"\n\techo "${component_name} ${componant_name}"')], (SCRIPT, "componant_name"), ('nothing sets "componant_name"',)),
    Case("KB674", [(SCRIPT, "install_ovmf() {", 'install_ovmf() {\n\tlatest_artefact="a"\n\tlatest_artefacts+="-b"\n\techo "${latest_artefact}"')], (SCRIPT, "latest_artefacts+="), ('nothing reads "latest_artefacts"',)),
    Case("KB675", [(SCRIPT, '	build_target="$1"\n', '	build_target="$1"\n	sha256sum "kata.tar" >{build_target}-sha256sum\n'), (SCRIPT, ">{", "> {")], (SCRIPT, "> {build_target}"), ('"{build_target}"',)),
    Case("KB676", [(SHIM, 'VMM_CONFIGS="qemu"', 'container_image="${VIRTIOFSD_CONTAINER_BUILDER:-$(get_tools_image_name)}"\nVMM_CONFIGS="qemu"')], (SHIM, "CONTAINER_BUILDER"), ('"tools"',)),
    Case("KB677", [(SCRIPT, "install_ovmf() {", 'install_ovmf() {\n\tlast="$(get_last_modification "${repo_root_dir}/tools/packaging/static-build/shim")"')], (SCRIPT, "static-build/shim"), ('"tools/packaging/static-build/shim"',)),
    Case("KB677", [(SHIM, 'VMM_CONFIGS="qemu"', 'VERSION_FILE="$(dirname "$0")/../../../../VERSIONS"\nVMM_CONFIGS="qemu"')], (SHIM, "VERSIONS"), ('"VERSIONS"',)),
    Case("KB678", [("versions.yaml", '    url: "https://example.org/linux"\n    version: "v6"', '    url: "https://example.org/linux/v5.x/"\n    version: "v6.1"')], ("versions.yaml", "v5.x"), ("v6.1", '"v5.x"')),
    Case("KB679", [(QEMU, "# The plain guest.", "# The plain guest.\n#kernel_params = quiet")], (QEMU, "#kernel_params"), ('"kernel_params"', "quiet")),
    Case("KB680", [(AMD64, "      - name: Build\n", "      - uses: upload\n        with:\n          name: kata-artifacts-arm64-${{ matrix.asset }}\n      - name: Build\n")], (AMD64, "kata-artifacts-arm64"), ("for amd64", '"arm64"')),
    Case("KB681", [(AMD64, "      - name: Build\n", "      - if: ${{ matrix.component != 'agent' }}\n        uses: sign\n      - name: Build\n")], (AMD64, "matrix.component"), ('"matrix.component"', '"build-asset"')),
    Case("KB681", [(AMD64, "          - ${{ inputs.stage }}", "          - ${{ input.stage }}")], (AMD64, "input.stage"), ("nothing that a workflow has",)),
    Case("KB681", [(AMD64, "      - uses: delete", "      - uses: delete\n        if: needs.build-asset.result == 'success'")], (AMD64, "needs.build-asset"), ("among its needs",)),
    Case("KB682", [(SCRIPT, '	build_target="$1"\n', '	build_target="$1"\n	check_build_target_warning x\n'), (SCRIPT, "handle_build() {", "check_build_target() {\n\ttrue\n}\n\nhandle_build() {")], (SCRIPT, "check_build_target_warning"), ("no script defines it",)),
    Case("KB683", [(AMD64, "        stage:\n          - ${{ inputs.stage }}", "        stage: ${{ inputs.stage }}")], (AMD64, "stage: ${{"), ('"stage"',)),
    Case("KB684", [(SHIM, 'VMM_CONFIGS="qemu"', 'local arch="x"\nVMM_CONFIGS="qemu"')], (SHIM, "local arch"), ("local arch",)),
    Case("KB684", [(SCRIPT, "install_ovmf() {", 'install_ovmf() {\n\tif [ -z "$1"]; then exit; fi')], (SCRIPT, '"$1"]'), ("refuses",)),
    Case("KB674", [("kata-deploy.sh", "#!/usr/bin/env bash", '#!/usr/bin/env bash\nNODE_NAME="${NODE_NAME:-}"\necho "${node_name}"')], ("kata-deploy.sh", "{node_name}"), ('"node_name"',), "shell"),
]  # fmt: skip

FALSE_ALARMS = [
    # A list that is made while the workflow runs.
    Case("KB683", [(AMD64, "        stage:\n          - ${{ inputs.stage }}", "        stage: ${{ fromJSON(inputs.stage) }}")]),
    # A function at the left margin, a test of the shell's own, a comment.
    Case("KB684", [(SCRIPT, "install_ovmf() {", '# [ -z "$x"]\ncheck_all() {\nlocal arch="x"\n[[ -n "${arch}" ]] && echo "[ -n ]"\n}\n\ninstall_ovmf() {')]),
    # Keys of every kind of matrix, inputs of every trigger, a matrix that is made while the workflow runs, a text.
    Case("KB681", [(AMD64, "      - name: Build\n", "      - if: matrix.asset != '' && needs.some.result == 'x.matrix.y'\n        uses: sign\n        with:\n          matrix: matrix.nothing\n      - name: Build\n"), (AMD64, "  build-asset:\n", "  build-asset:\n    needs: [some]\n")]),
    Case("KB681", [(AMD64, "  remove-rootfs-binary-artifacts:\n    needs: build-asset-rootfs\n    strategy:\n      matrix:\n        asset:\n          - agent\n", "  remove-rootfs-binary-artifacts:\n    strategy:\n      matrix: ${{ fromJSON(inputs.list) }}\n    env:\n      A: ${{ matrix.any }}\n"), (AMD64, "    inputs:\n", "    inputs:\n      list:\n        type: string\n")]),
    # A function of a test, a program that is like no function, a word in a text.
    Case("KB682", [(SCRIPT, '	build_target="$1"\n', '	build_target="$1"\n	some_other_program x\n	echo check_build_targets\n	check_build_target x\n'), ("tests/common.bash", "#!/usr/bin/env bash", "#!/usr/bin/env bash\ncheck_build_target() {\n\ttrue\n}")]),
    # A runtime may allow more annotations than the one that it replaces.
    Case("KB633", [(QEMU_RS, '["enable_iommu", "kernel_params"]', '["enable_iommu", "kernel_params", "default_vcpus", "more"]')]),
    # Guest pull is forced where no snapshotter does it.
    Case("KB668", [(VALUES, "      snapshotter: nydus\n      forceGuestPull: false\n    crio:\n      guestPull: true\n\n  qemu-tdx", '      snapshotter: ""\n      forceGuestPull: true\n\n  qemu-tdx')]),
    # What runs beside the guest costs memory too.
    Case("KB669", [(OVERHEADS, '"qemu" (dict "memory" "320Mi"', '"qemu" (dict "memory" "8192Mi"')]),
    # A script is told a name by another one.
    Case("KB672", [("versions.yaml", "externals:\n", 'externals:\n  conmon:\n    version: "v1"\n'), (SCRIPT, "install_ovmf() {", 'install_ovmf() {\n\tget_from_kata_deps ".externals.${2}.version"'), ("tests/common.bash", "#!/usr/bin/env bash", "#!/usr/bin/env bash\ndownload conmon")]),
    # Variables of the environment, of a loop, with a number, given to one command; a comment; a short name.
    Case("KB674", [(SCRIPT, "install_ovmf() {", 'install_ovmf() {\n\tfor component_name in a b; do echo "${component_name}"; done\n\tcomponent_nam="x" build\n\texport component_names\n# ${componant_name}\n\tlocal qemu_path1="a" qemu_path2="b"\n\techo "${qemu_path1}${ARTEFACT_REGISTRY}"')]),
    Case("KB674", [(SCRIPT, "install_ovmf() {", 'install_ovmf() {\n\tlocal ARTEFACT_REPO="x"\n\techo "${ARTEFACT_REPO}${ARTEFACT_REPOS}"'), (AMD64, "    steps:\n", "    env:\n      ARTEFACT_REPOS: a\n    steps:\n")]),
    # A file descriptor, a list of alternatives, a placeholder of another program.
    Case("KB675", [(SCRIPT, "install_ovmf() {", 'install_ovmf() {\n\texec {stdout}>&1\n\tlocal name="%{name}" list="x"\n\techo a.{list,name} "${stdout}${list}${name}" \'{{.list}}\'')]),
    Case("KB676", [(SHIM, 'VMM_CONFIGS="qemu"', 'container_image="${SHIM_V2_CONTAINER_BUILDER:-$(get_shim_v2_image_name)}"\nVMM_CONFIGS="qemu"')]),
    # What the script makes itself, and what a variable is part of.
    Case("KB677", [(SHIM, 'VMM_CONFIGS="qemu"', 'out="${repo_root_dir}/tools/packaging/build"\nlast="$(get_last_modification "${repo_root_dir}/tools/${where}")"\nmore="$(get_last_modification "${repo_root_dir}/src/runtime")"\nVMM_CONFIGS="qemu"')]),
    Case("KB678", [("versions.yaml", '    url: "https://example.org/linux"\n    version: "v6"', '    url: "https://example.org/linux/v6.x/"\n    version: "v6.1"')]),
    # A list that goes on, a text that shows what may be there, a variable, a word that is no setting.
    Case("KB679", [(QEMU, "# The plain guest.", "#enable_annotations = [\n# kernel = file:///path\n#default_vcpus = @DEFVCPUS@\n# quiet = yes\n# path = <path>")]),
    Case("KB680", [(AMD64, "      - name: Build\n", "      - uses: upload\n        with:\n          name: kata-artifacts-amd64-${{ matrix.asset }}\n      - name: Build for arm64\n")]),
    # A test case of the installer is no list, and neither is a comment.
    Case("KB602", [(INSTALL, '#[case("qemu-never", "qemu")]', '#[case("qemu-other", "qemu")]')]),
    Case("KB602", [(INSTALL, "    // not QEMU", '    // "qemu-old" was here')]),
    # A class without a place in the default selection is a complete shim all the same.
    Case("KB602", [("kata-deploy.sh", "dragonball qemu qemu-snp", "dragonball qemu"), ("kata-deploy.yaml", "dragonball qemu qemu-snp", "dragonball qemu"), ("kata-cleanup.yaml", "dragonball qemu qemu-snp", "dragonball qemu"), ("kata-deploy/values.yaml", "dragonball qemu qemu-snp", "dragonball qemu")], tree="shell"),
    # The two vocabularies are one.
    Case("KB611", []),
    # An architecture that is new upstream is no misspelling.
    Case("KB617", [(MAP, '"aarch64": [', '"riscv64": [')]),
    Case("KB617", [("versions.yaml", "externals:\n", "externals:\n  image:\n    architecture:\n      arm64:\n        name: ubuntu\n      riscv64:\n        name: ubuntu\n")]),
    # An arm for every other architecture is for those without rows as well.
    Case("KB614", [(CONFIG, '        _ => "qemu",', '        _ => "clh",')]),
    # A profile that says nothing of an architecture is not for it.
    Case("KB615", []),
    Case("KB613", [(PROFILE, "  disableAll: true", "  disableAll: false"), (PROFILE, "  amd64: qemu-snp", "  amd64: qemu")]),
    # What a comment offers is an alternative for administrators.
    Case("KB626", [(MAP, '["shim-v2-go", "qemu", "virtiofsd", "kernel", "rootfs-image"],', '["shim-v2-go", "qemu", "virtiofsd", "kernel", "rootfs-image", "rootfs-initrd"],')]),
    # A host path is nobody's component.
    Case("KB625", [(GO, "FIRMWAREPATH :=\n", "FIRMWAREPATH := /usr/share/OVMF/OVMF.fd\n")]),
    # A component of which it is not known what it brings may bring the file.
    Case("KB625", [(MAP, ['"virtiofsd", "kernel", "rootfs-image"]', "    },", '    "qemu-runtime-rs"'][0].replace("]", ', "ovmf"]'), '"virtiofsd", "kernel", "rootfs-image", "some-firmware"]')]),
    # Nothing starts a daemon where no file system is shared.
    Case("KB625", [(SNP, 'virtio_fs_daemon = "@DEFVIRTIOFSDAEMON@"', 'virtio_fs_daemon = "/opt/kata/libexec/other"')]),
    # Replaced with an empty value on purpose.
    Case("KB637", [(GO, "FIRMWAREPATH :=\n", "FIRMWAREPATH =\n")]),
    # The hypervisor that is part of the runtime has no program.
    Case("KB629", [], tree="shell"),
    Case("KB637", [], tree="shell"),
    # A stand-in for who may not see the secrets of a component.
    Case("KB646", [(AMD64, "          - kernel\n", "          - kernel\n          - fake-boot-image\n")]),
    # An overhead above the guest's memory, in another unit.
    Case("KB652", [(OVERHEADS, '"qemu-snp" (dict "memory" "2048Mi"', '"qemu-snp" (dict "memory" "2Gi"')]),
    Case("KB654", [(OVERHEADS, '"qemu" (dict "memory" "320Mi"', '"qemu" (dict "memory" "327680Ki"')]),
    # The snapshotter that a profile sets up itself.
    Case("KB662", [(PROFILE, 'setup: ["nydus"]', 'setup: ["nydus", "erofs"]'), (PROFILE, "snapshotter: nydus", "snapshotter: erofs")]),
    # A commented read, a part that only the script knows, a read of what is above.
    Case("KB671", [(SCRIPT, "install_ovmf() {", '# get_from_kata_deps ".assets.gone.version"\ninstall_ovmf() {')]),
    Case("KB672", [("versions.yaml", "externals:\n", 'externals:\n  conmon:\n    version: "v1"\n'), ("tests/common.bash", "#!/usr/bin/env bash", "#!/usr/bin/env bash\nshow .externals.conmon")]),
    # Tests that were elsewhere read the file too.
    Case("KB672", [("versions.yaml", "other: *kernel", "other: *kernel\n  conmon:\n    version: v1")], tree="shell"),
    # A type of another package may be anything; a whole number is a number; what nothing declares is another rule's.
    Case("KB658", [(QEMU, "default_memory =", 'cold_plug_vfio = "no-port"\nsnp_guest_policy = 0x30000\ndefault_memory =')]),
    Case("KB658", [(QEMU, "default_memory =", 'no_such_thing = "text"\ndefault_memory =')]),
    Case("KB657", [(QEMU, "[runtime]", '[[hypervisor.qemu.guest_extension_images]]\nname = "x"\n[factory]\nenable_template = false\n[runtime]')]),
    Case("KB657", [(QEMU_RS, "[runtime]", "[agent.kata]\nenable_debug = true\ndial_timeout_ms = 1\n[hypervisor.qemu.factory]\nenable_template = false\n[runtime]")]),
    Case("KB660", [(QEMU_RS, "[runtime]", '[[hypervisor.qemu.guest_extension_images]]\nname = "x"\n[runtime]')]),
    # A setting that a comment offers.
    Case("KB657", [(QEMU, "[runtime]", "# no_such_thing = true\n[runtime]")]),
    # Layers that stay apart, and a shim of the other runtime.
    Case("KB663", [(PROFILE, 'setup: ["nydus"]', 'setup: ["nydus"]\n  erofsMergeMode: unmerged'), (PROFILE, "snapshotter: nydus", "snapshotter: erofs"), (INSTALL, "const ALL_SHIMS", "// erofs_merge_mode\nconst ALL_SHIMS")]),
    Case("KB663", [(PROFILE, "snapshotter: nydus", "snapshotter: erofs")]),
    # A file that nobody brings may be the host's.
    Case("KB659", [(GO, "FIRMWAREPATH :=\n", "FIRMWAREPATH := /usr/share/OVMF/OVMF_CODE.fd\n")]),
    # A variant for one architecture.
    Case("KB673", [("versions.yaml", "externals:\n", "externals:\n  image:\n    architecture:\n      x86_64:\n        nvidia-gpu:\n          name: ubuntu\n        nvidia-gpu-confidential:\n          name: ubuntu\n      aarch64:\n        nvidia-gpu:\n          name: ubuntu\n")]),
    # Two cells that share a component.
    Case("KB603", []),
    Case("KB644", []),
]  # fmt: skip


def _unlisted(files: UpstreamFiles) -> UpstreamFiles:
    files.content["src/runtime/config/configuration-fc.toml.in"] = files.content["src/runtime/config/configuration-clh.toml.in"]
    clh = "CONFIGS += config/configuration-clh.toml"
    return files.replace(GO, clh, f"{clh}\n    CONFIGS += config/configuration-fc.toml")


def _second_pipeline(files: UpstreamFiles) -> UpstreamFiles:
    build = files.content.pop(".github/workflows/build-kata-static-tarball-amd64.yaml")
    files.content[".github/workflows/kata-deploy-push.yaml"] = build
    files.content[".github/workflows/release.yaml"] = build.replace(b"          - kernel\n", b"")
    return files


def _without_content(files: UpstreamFiles) -> UpstreamFiles:
    files.content[files.path(MAP)] = b"[" + b" " * (4 * 1024 * 1024) + b"]"
    return files


OTHERS: dict[str, tuple[str, Callable[[UpstreamFiles], UpstreamFiles], str]] = {
    "KB605": ("today", _unlisted, ""),
    "KB650": ("shell", _second_pipeline, "Two workflows build for themselves, and `release.yaml` does not build the kernel."),
    "KB901": ("today", lambda files: files.remove("versions.yaml"), "`versions.yaml` is not there."),
    "KB902": ("today", lambda files: files.replace(SCRIPT, "handle_build() {", "build_one() {"), ""),
    "KB903": ("today", lambda files: files.replace(GO, "KERNELDIR := ", "KERNELDIR := $(shell pwd)"), ""),
    "KB904": ("today", _without_content, "`shim-components.json` is longer than 4 MiB."),
}
"""Mistakes that take more than a replaced text: tree, change, and the change in words where it cannot be shown."""
