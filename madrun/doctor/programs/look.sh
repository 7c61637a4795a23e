#!/usr/bin/env bash
# What a container, or the process runtime, gives a job: one line `madrun-doctor NAME VALUE` for each thing.
say() { printf 'madrun-doctor %s %s\n' "$1" "$2"; }

say nofile "$(ulimit -Sn)"
say memlock_kib "$(ulimit -Sl)"
while read -r key value _; do  # CAP_IPC_LOCK stands above that limit: getrlimit(2)
  [[ $key == CapEff: ]] && ((0x$value >> 14 & 1)) && say memlock_above 1
done </proc/self/status
while read -r _ place kind options _; do         # an image may have neither df nor python
  [[ $place != /dev/shm || $kind != tmpfs || ,$options, != *,size=+([0-9])k,* ]] || {
    options=${options##*size=}
    say shm_kib "${options%%k*}"
  }
done </proc/mounts
if read -r _ size _ free _ < <(df -Pk /dev/shm 2>/dev/null | tail -n 1) && [[ $size == +([0-9]) ]]; then
  say shm_kib "$size"
  say shm_free_kib "$free"
fi
for device in /dev/infiniband/uverbs*; do [[ -e $device ]] && say rdma "${device##*/}"; done

python=$(type -P python3) || exit 0
"$python" - <<'END'
import os, sys

def say(name, value):
    print(f"madrun-doctor {name} {value}", flush=True)

say("python", sys.version.split()[0])
shm = os.statvfs("/dev/shm") if os.path.isdir("/dev/shm") else None
if shm is not None:
    say("shm_kib", shm.f_blocks * shm.f_frsize // 1024)
    say("shm_free_kib", shm.f_bavail * shm.f_frsize // 1024)
try:
    import torch
except Exception as error:
    if not isinstance(error, ModuleNotFoundError) or error.name != "torch":
        say("torch_error", f"{type(error).__name__}: {error}".replace("\n", " ")[:400])
    sys.exit()
say("torch", torch.__version__)
for name in ("cuda", "hip"):
    if getattr(torch.version, name, None):
        say(name, getattr(torch.version, name))
try:
    if torch.cuda.is_available():
        say("nccl", ".".join(map(str, torch.cuda.nccl.version())))
    say("gpus", torch.cuda.device_count())
except Exception as error:
    say("gpu_error", f"{type(error).__name__}: {error}".replace("\n", " ")[:400])
END
