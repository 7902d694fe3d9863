import EdgeKitCore
import EdgeKitEngines
import EdgeKitStudio
import SwiftUI
import UIKit

@main
struct EdgeKitDemoApp: App {
  @State private var studio = Studio(
    loader: Device.loader, system: Device.system, historyFile: Device.historyFile)
  @Environment(\.scenePhase) private var scenePhase

  var body: some Scene {
    WindowGroup {
      ContentView(studio: studio)
        .task { await begin() }
        .onReceive(
          NotificationCenter.default.publisher(
            for: UIApplication.didReceiveMemoryWarningNotification)
        ) { _ in studio.release() }
    }
    .onChange(of: scenePhase) { _, phase in
      switch phase {
      case .background: studio.release()
      case .active: Task { await studio.resume() }
      default: break
      }
    }
  }

  private func begin() async {
    do {
      if let run = try Autorun(environment: ProcessInfo.processInfo.environment) {
        let passed = await run.run(
          bundles: BundleFolder.all(in: Device.bundles), loader: Device.loader,
          system: Device.system
        ) { line in Device.print(line) }
        exit(passed ? 0 : 1)
      }
    } catch {
      Device.print(#"{"event":"error","message":"\#(sentence(of: error))"}"#)
      exit(2)
    }
    await studio.start(bundlesIn: Device.bundles)
  }
}

/// Places and facts of this device.
enum Device {
  /// The folder that `edgekit app --target ios` fills; part of the app.
  static var bundles: URL { Bundle.main.bundleURL.appendingPathComponent("Bundles") }

  static var system: Int { ProcessInfo.processInfo.operatingSystemVersion.majorVersion }

  static var historyFile: URL { URL.applicationSupportDirectory.appending(path: "benchmarks.json") }

  static var loader: DeviceLoader {
    DeviceLoader(cache: CompiledCache(folder: URL.cachesDirectory.appending(path: "compiled")))
  }

  /// Unbuffered, so that the last line is seen even if the app is ended right after it.
  static func print(_ line: String) {
    FileHandle.standardOutput.write(Data((line + "\n").utf8))
  }
}
