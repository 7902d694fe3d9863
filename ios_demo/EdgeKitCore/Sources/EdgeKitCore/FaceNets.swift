import Foundation

/// The nets of a portrait bundle that find faces, loaded and ready.
public struct FaceNets: Sendable {
  private let models: [FaceNet: (entry: ModelEntry, engine: any Engine)]

  /// Load them from the bundle's parts. They run on the processor wherever the restorer does: they
  /// are small, and so a face is found at the same points on every device.
  public init(
    of bundle: BundleFolder, by loader: any EngineLoader, system: Int, clock: Clock = .system
  ) async throws {
    var models: [FaceNet: (entry: ModelEntry, engine: any Engine)] = [:]
    for net in FaceNet.allCases {
      let part = try bundle.part(named: net.rawValue)
      guard let entry = part.manifest.runnable(formats: loader.formats, system: system).first else {
        throw EdgekitError(
          "\(net.rawValue) holds no file that this device runs",
          hint: "put the bundle in with `edgekit app --target ios`")
      }
      let loaded = try await loadWithFallback(
        entry, at: try part.checked(entry), on: .cpu, by: loader, clock: clock)
      models[net] = (entry, loaded.engine)
    }
    self.models = models
  }

  public var finder: FaceFinder { FaceFinder { try await self.run($0, $1) } }

  private func run(_ net: FaceNet, _ input: [Float]) async throws -> (long: [Float], short: [Float])
  {
    guard let (entry, engine) = models[net], let port = entry.inputs.first else {
      throw EdgekitError("\(net.rawValue) is not loaded", hint: "load the bundle again")
    }
    let outputs = try await engine.run([port.name: .numbers(input)])
    let found = entry.outputs.compactMap { port -> [Float]? in
      guard case .numbers(let values) = outputs[port.name] else { return nil }
      return values
    }.sorted { $0.count > $1.count }
    guard found.map(\.count) == [net.outputs.long, net.outputs.short] else {
      throw EdgekitError(
        "\(entry.path) gave \(found.map(\.count)) values", hint: "put the bundle in again")
    }
    return (found[0], found[1])
  }
}
