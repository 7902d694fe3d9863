#!/usr/bin/env bash
# A Swift 6 compiler for the tests of EdgeKitCore, and one way to call it on every system.
#
#   ios_demo/toolchain.sh install       once; nothing is done where Swift 6 is already on the PATH
#   ios_demo/toolchain.sh where         print how Swift is found; status 3 and one line if it is not
#   ios_demo/toolchain.sh run COMMAND…  run a command of the toolchain in the current folder
#
# A Mac or a machine with a Swift 6 toolchain of swift.org uses that. Elsewhere `install` makes a
# Debian 13 root folder with Debian's own `swiftlang` (3.4 GB, about 3 minutes; needs root and
# debootstrap, whose packages are signed by Debian) in $EDGEKIT_SWIFT_ROOT, by default
# ~/.cache/edgekit/swift-trixie. `run` enters it in a mount namespace of its own: it leaves no mount
# behind, and sees of this machine only the repository and the folder $EDGEKIT_SEE, if that is set.
# Variables EDGEKIT_* are handed on.
set -euo pipefail

ROOT=${EDGEKIT_SWIFT_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/edgekit/swift-trixie}
DONE=$ROOT/.edgekit-complete
REPOSITORY=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

fail() { # status, sentence
  echo "toolchain: $2" >&2
  exit "$1"
}

on_path() {
  command -v swift >/dev/null && swift --version 2>/dev/null | grep -Eq 'Swift version ([6-9]|[1-9][0-9])\.'
}

where() {
  if on_path; then
    command -v swift
  elif [ -f "$DONE" ]; then
    echo "$ROOT"
  else
    fail 3 "no Swift 6 here; run as root: ios_demo/toolchain.sh install (Debian's compiler, 3.4 GB in $ROOT)"
  fi
}

install() {
  on_path && { echo "toolchain: $(command -v swift) is Swift 6 already"; return; }
  [ -f "$DONE" ] && { echo "toolchain: $ROOT is complete"; return; }
  [ "$(uname -s)" = Linux ] || fail 3 "install Xcode 16 or later, or Swift 6 from swift.org, so that 'swift' is on the PATH"
  [ "$(id -u)" = 0 ] || fail 3 "making a root folder needs root: run this as root, or put Swift 6 on the PATH"
  command -v debootstrap >/dev/null || fail 3 "debootstrap is not installed: apt-get install debootstrap"
  mkdir -p "$ROOT"
  exec 9>"$ROOT.lock"
  flock -n 9 || fail 4 "another install works on $ROOT: wait for it"
  if [ ! -f "$ROOT/.edgekit-base" ]; then
    rm -rf "${ROOT:?}"/* # what an interrupted run left
    debootstrap --variant=minbase trixie "$ROOT" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"}
    touch "$ROOT/.edgekit-base"
  fi
  # The host's way to its mirror (proxies, certificates) is the chroot's way, too.
  cp -L /etc/resolv.conf "$ROOT/etc/resolv.conf"
  grep -lE '^ *Acquire' /etc/apt/apt.conf.d/* 2>/dev/null | xargs -r cp -t "$ROOT/etc/apt/apt.conf.d/" || true
  [ -d /etc/ssl/certs ] && { mkdir -p "$ROOT/etc/ssl"; cp -rLn /etc/ssl/certs "$ROOT/etc/ssl/" 2>/dev/null || true; }
  inside apt-get -q update
  inside env DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends \
    swiftlang g++ libc6-dev libstdc++-14-dev
  inside rm -rf /var/cache/apt/archives /var/lib/apt/lists
  inside swift --version
  touch "$DONE"
}

# Run a command below $ROOT; the repository lies there at its own path.
inside() {
  local variables
  mapfile -t variables < <(env | grep -E '^EDGEKIT_[A-Z_]+=' || true)
  unshare --mount --propagation private bash -euc '
    root=$1; shift
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    while [ "$1" != -- ]; do
      if [ -n "$1" ]; then mkdir -p "$root$1"; mount --bind "$1" "$root$1"; fi
      shift
    done
    shift
    exec chroot "$root" env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8 TERM=dumb \
      "$@"
  ' _ "$ROOT" "$REPOSITORY" "${EDGEKIT_SEE-}" -- "${variables[@]}" \
    bash -euc 'cd "$1"; shift; exec "$@"' _ "${FOLDER:-/}" "$@"
}

run() {
  where >/dev/null
  if on_path; then
    exec "$@"
  fi
  [ "$(id -u)" = 0 ] || fail 3 "entering $ROOT needs root: run this as root, or put Swift 6 on the PATH"
  case $PWD/ in
    "$REPOSITORY"/*) FOLDER=$PWD inside "$@" ;;
    *) fail 2 "call this from a folder of $REPOSITORY: the toolchain sees nothing else" ;;
  esac
}

case ${1-} in
  install) install ;;
  where) where ;;
  run) shift; run "$@" ;;
  *) fail 2 "give install, where or run COMMAND" ;;
esac
