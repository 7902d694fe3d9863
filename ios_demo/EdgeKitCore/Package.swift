// swift-tools-version: 6.0
import PackageDescription

// Three layers, each of which sees only those before it. The first two are plain Swift and are
// built and tested on Linux as well; the third is empty where Core ML is missing.
let package = Package(
  name: "EdgeKitCore",
  platforms: [.iOS(.v17), .macOS(.v14)],
  products: [
    .library(name: "EdgeKitCore", targets: ["EdgeKitCore"]),
    .library(name: "EdgeKitStudio", targets: ["EdgeKitStudio"]),
    .library(name: "EdgeKitEngines", targets: ["EdgeKitEngines"]),
  ],
  targets: [
    .target(name: "EdgeKitCore"),
    .target(name: "EdgeKitStudio", dependencies: ["EdgeKitCore"]),
    .target(name: "EdgeKitEngines", dependencies: ["EdgeKitCore"]),
    .testTarget(name: "EdgeKitCoreTests", dependencies: ["EdgeKitCore", "EdgeKitStudio"]),
  ],
  swiftLanguageModes: [.v6]
)
