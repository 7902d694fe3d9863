#!/usr/bin/env bash
# Everything about the iOS demo that a Swift 6 compiler can check without Apple's SDK:
#   style, the package's tests, the engines and the app against stand-ins, and a build of LinuxEngine.
# Real inference through that build is tests/ios/test_swift.py's part, which also calls this script.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
work=${EDGEKIT_SWIFT_BUILD:-/tmp/edgekit-swift} # inside the toolchain's root folder, if there is one
run() { ./toolchain.sh run bash -euc "cd '$PWD/$1'; shift; \"\$@\"" _ "$@"; }
# Debian's libswiftObservation names a function that nothing defines and that is never called.
link=(-Xlinker --allow-shlib-undefined)
[ "$(uname -s)" = Darwin ] && link=()

run . swift format lint --strict --recursive --parallel \
  EdgeKitCore/Sources EdgeKitCore/Tests EdgeKitCore/Package.swift App LinuxEngine/Sources
echo "style: no remark"
run EdgeKitCore swift test --quiet --scratch-path "$work/core" ${link[@]+"${link[@]}"}
modules=$(run EdgeKitCore swift build --show-bin-path --scratch-path "$work/core")/Modules
if [ "$(uname -s)" = Linux ]; then
  run . StandIns/typecheck.sh "$modules" "$work/stand-ins"
  run LinuxEngine swift build --quiet --scratch-path "$work/linux" ${link[@]+"${link[@]}"}
  echo "LinuxEngine: built in $work/linux"
fi
