#!/usr/bin/env bash
# Make the folder that the tests of `edgekit bench --device adb:` talk to: a small Debian with Debian's own adbd.
#
#   sudo benchmarks/device_chroot.sh            this processor (a minute, 230 MB)
#   benchmarks/device_chroot.sh --check         only say whether it is there (exit 3 if not)
#   sudo benchmarks/device_chroot.sh arm64      aarch64 programs run by qemu (minutes, 250 MB)
#
# It needs root, Debian's archive, and: apt-get install debootstrap adb iproute2 util-linux (arm64: qemu-user-static).
# Nothing is started and nothing listens: the tests run adbd in a network namespace of its own.
set -euo pipefail

check=
if [ "${1:-}" = --check ]; then
  check=yes
  shift
fi
arch=${1:-$(dpkg --print-architecture)}
cache=${XDG_CACHE_HOME:-$HOME/.cache}/edgekit
folder=${EDGEKIT_DEVICE_CHROOT:-$cache/adb-device-$arch}
suite=trixie

if [ -x "$folder/usr/lib/android-sdk/platform-tools/adbd" ] && [ -f "$folder/.complete" ]; then
  echo "the device for tests is there: $folder"
  exit 0
fi
if [ -n "$check" ]; then
  echo "the device for tests is not in $folder (as root: benchmarks/device_chroot.sh)" >&2
  exit 3
fi
[ "$(id -u)" = 0 ] || { echo "device_chroot.sh: run it as root: it unpacks a system" >&2; exit 2; }
for program in debootstrap adb ip unshare nsenter; do
  command -v "$program" > /dev/null || { echo "device_chroot.sh: $program is missing: apt-get install debootstrap adb iproute2 util-linux" >&2; exit 3; }
done
if [ "$arch" != "$(dpkg --print-architecture)" ] && ! grep -qs enabled "/proc/sys/fs/binfmt_misc/qemu-aarch64"; then
  echo "device_chroot.sh: $arch programs do not run here: apt-get install qemu-user-static binfmt-support" >&2
  exit 3
fi

rm -rf "$folder"
mkdir -p "$folder"
debootstrap --arch="$arch" --variant=minbase --include=adbd "$suite" "$folder"
rm -rf "$folder"/var/cache/apt/archives/*.deb "$folder"/var/lib/apt/lists/*

# Android's commands do not exist here. These stand in for them and print text that a test puts into /android: they are no phone.
mkdir -p "$folder/android" "$folder/data/local/tmp"
cat > "$folder/usr/bin/getprop" <<'SHIM'
#!/bin/sh
# A stand-in for Android's getprop: prints the line of /android/props that begins with "NAME=".
sed -n "s/^$1=//p" /android/props 2>/dev/null
SHIM
cat > "$folder/usr/bin/dumpsys" <<'SHIM'
#!/bin/sh
# A stand-in for Android's dumpsys: prints the text that was put into /android/NAME.
cat "/android/$1" 2>/dev/null
SHIM
# XNNPACK asks here for the number of processors. The host's own /sys would tell an aarch64 program of an x86 machine.
mkdir -p "$folder/sys/devices/system/cpu"
echo 0-1 | tee "$folder/sys/devices/system/cpu/possible" > "$folder/sys/devices/system/cpu/present"
chmod 755 "$folder/usr/bin/getprop" "$folder/usr/bin/dumpsys"
touch "$folder/.complete"
echo "made $folder; the tests of tests/benchmarks/test_device_adb.py use it"
