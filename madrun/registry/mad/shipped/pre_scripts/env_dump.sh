#!/usr/bin/env bash
# Writes what this container is made of to ../env_dump/<first argument>/: system, packages, GPUs. No variables of the
# environment: they may be secret, and environment.json of the run has the others.
folder=../env_dump/${1:-dump}
mkdir -p "$folder" || exit
take() {  # FILE COMMAND...: what it prints, where it is there
  local file=$folder/$1
  shift
  command -v "$1" >/dev/null 2>&1 || return 0
  "$@" >"$file" 2>&1 </dev/null
  return 0
}
take uname.txt uname -a
take os-release.txt cat /etc/os-release
take cpu.txt lscpu
take memory.txt cat /proc/meminfo
take disks.txt df -h
take dpkg.txt dpkg-query -W
take rpm.txt rpm -qa
take pip.txt python3 -m pip list --disable-pip-version-check
take rocminfo.txt rocminfo
take amd-smi.txt amd-smi static
take rocm-smi.txt rocm-smi --showallinfo
take nvidia-smi.txt nvidia-smi -q
take network.txt ip address
