#!/usr/bin/env bash
# Check EdgeKitEngines and App against the stand-ins; called by test.sh inside the toolchain.
#   typecheck.sh MODULES WORK [FILE...]   MODULES: where `swift build` put EdgeKitCore's modules;
#                                         FILE: more Swift files of the app
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
modules=$1 work=$2
shift 2
mkdir -p "$work"
flags=(-swift-version 6 -parse-as-library -I "$work" -I "$modules")

made() { swiftc "${flags[@]}" -suppress-warnings -emit-module -module-name "$1" "$2" -o "$work/$1.swiftmodule"; }

made Graphics Graphics.swift
for name in CoreVideo CoreGraphics ImageIO UniformTypeIdentifiers CoreTransferable; do
  echo '@_exported import Graphics' > "$work/$name.swift"
  made "$name" "$work/$name.swift"
done
for name in CoreML CoreAI SwiftUI UIKit PhotosUI AVFoundation; do made "$name" "$name.swift"; done
swiftc "${flags[@]}" -warnings-as-errors -emit-module -module-name EdgeKitEngines \
  ../EdgeKitCore/Sources/EdgeKitEngines/*.swift -o "$work/EdgeKitEngines.swiftmodule"
echo "EdgeKitEngines: type-checked against stand-ins"
swiftc "${flags[@]}" -warnings-as-errors -typecheck -module-name EdgeKitDemo ../App/*.swift "$@"
echo "App: type-checked against stand-ins"
