// swift-tools-version: 6.0
import PackageDescription

// LiteRT behind EdgeKitCore's engine seam, for tests on Linux: the app's own classes edit photos with
// a real model. Not part of the app.
let package = Package(
  name: "LinuxEngine",
  dependencies: [.package(path: "../EdgeKitCore")],
  targets: [
    .target(name: "CRunner"),
    .executableTarget(
      name: "edgekit-linux",
      dependencies: [
        "CRunner",
        .product(name: "EdgeKitCore", package: "EdgeKitCore"),
        .product(name: "EdgeKitStudio", package: "EdgeKitCore"),
      ]),
  ],
  swiftLanguageModes: [.v6]
)
