"""A host's /proc, /sys and /dev built in a folder, in the format of the kernel's sources (not recordings)."""

from madrun.probe.accelerator import find_accelerator

NVIDIA_VERSION = """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build  (dvs-builder@U16)  Wed Feb 26
GCC version:  gcc version 11.4.0 (Ubuntu 11.4.0-1ubuntu1~22.04)
"""


class HostTree:
    def __init__(self, root):
        self.root = root

    def write(self, path, text=""):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def kfd(self, node, **properties):
        lines = "".join(f"{name} {value}\n" for name, value in properties.items())
        self.write(f"sys/class/kfd/kfd/topology/nodes/{node}/properties", lines)

    def cpu_node(self, node):
        self.kfd(node, cpu_cores_count=96, simd_count=0, gfx_target_version=0)

    def gpu_node(self, node, version=90402, minor=128, device=True, **more):
        """A node as KFD publishes it; its PCI bus is its number unless `location_id` says otherwise."""
        given = {"vendor_id": 4098, "device_id": 0x74A1, "location_id": node << 8, "domain": 0, **more}
        self.kfd(node, simd_count=1216, gfx_target_version=version, drm_render_minor=minor, **given)
        self.write("dev/kfd")
        if device:
            self.write(f"dev/dri/renderD{minor}")

    def pci(self, bus, **files):
        for name, text in files.items():
            self.write(f"sys/bus/pci/devices/{bus}/{name}", f"{text}\n")

    def nvidia(self, *models, version=NVIDIA_VERSION, excluded=(), uuid="GPU-{index}"):
        """GPUs whose minor numbers count against the order of their PCI addresses, as some boards do."""
        for index, model in enumerate(models):
            bus, minor = f"0000:{index + 1:02x}:00.0", len(models) - 1 - index
            self.write(
                f"proc/driver/nvidia/gpus/{bus}/information",
                f"Model: \t\t {model}\nIRQ:   \t\t 123\nGPU UUID: \t {uuid.format(index=index)}\n"
                f"Video BIOS: \t 96.00.99.00.01\nBus Type: \t PCIe\nBus Location: \t {bus}\n"
                f"Device Minor: \t {minor}\nGPU Excluded:\t {'Yes' if index in excluded else 'No'}\n",
            )
            self.write(f"dev/nvidia{minor}")
        self.write("proc/driver/nvidia/version", version)
        (self.root / "proc/driver/nvidia/capabilities").mkdir()
        for name in ("nvidiactl", "nvidia-uvm"):
            self.write(f"dev/{name}")

    def mig(self, minor, instance):
        self.write(f"proc/driver/nvidia/capabilities/gpu{minor}/mig/gi{instance}/ci0/access", "DeviceFileMinor: 1\n")

    def find(self, outputs=None, binding=None):
        """What is found, where the tools print `outputs`, by the first words of the command; and what was started."""
        started = []

        def run(argv):
            started.append(tuple(argv))
            return next((text for words, text in (outputs or {}).items() if " ".join(argv).startswith(words)), None)

        return find_accelerator(self.root, run, lambda: binding), started
