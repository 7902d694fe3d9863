import Foundation

/// The nets of a portrait bundle that find faces, loaded and ready.
public struct FaceNets: Sendable {
  private struct Loaded {
    let part: BundleFolder
    let entry: ModelEntry
    let engine: any Engine
  }

  private let models: [FaceNet: Loaded]

  /// Load them from the bundle's parts. They run on the processor wherever the restorer does: they
  /// are small, and so a face is found at the same points on every device.
  public init(
    of bundle: BundleFolder, by loader: any EngineLoader, system: Int, clock: Clock = .system
  ) async throws {
    var models: [FaceNet: Loaded] = [:]
    for net in FaceNet.allCases {
      let part = try bundle.part(named: net.rawValue)
      guard let entry = part.manifest.runnable(formats: loader.formats, system: system).first else {
        throw EdgekitError(
          "\(net.rawValue) holds no file that this device runs",
          hint: "put the bundle in with `edgekit app --target ios`")
      }
      let loaded = try await loadWithFallback(
        entry, at: try part.checked(entry), on: .cpu, by: loader, clock: clock)
      models[net] = Loaded(part: part, entry: entry, engine: loaded.engine)
    }
    self.models = models
  }

  public var finder: FaceFinder { FaceFinder { try await self.run($0, $1) } }

  private func run(_ net: FaceNet, _ input: [Float]) async throws -> (long: [Float], short: [Float])
  {
    guard let model = models[net], let port = model.entry.inputs.first else {
      throw EdgekitError("\(net.rawValue) is not loaded", hint: "load the bundle again")
    }
    let outputs = try await model.engine.run([port.name: .numbers(input)])
    let found = model.entry.outputs.compactMap { port -> [Float]? in
      guard case .numbers(let values) = outputs[port.name] else { return nil }
      return values
    }.sorted { $0.count > $1.count }
    guard found.map(\.count) == [net.outputs.long, net.outputs.short] else {
      throw EdgekitError(
        "\(model.entry.path) gave \(found.map(\.count)) values", hint: "put the bundle in again")
    }
    return (found[0], found[1])
  }

  /// Run the golden vectors that LiteRT wrote with the original files, and compare; the worst net
  /// counts.
  public func check() async throws -> GoldenCheck {
    var (worst, samples): (Parity?, Int) = (nil, 0)
    for net in FaceNet.allCases {
      guard let model = models[net] else { continue }
      let golden = try GoldenVectors(of: model.part)
      samples += golden.count
      for index in 0..<golden.count {
        let outputs = try await model.engine.run(try golden.feeds(model.entry, index))
        for port in model.entry.outputs {
          let wanted = try golden.sample(port.name, index).values
          guard case .numbers(let made) = outputs[port.name], made.count == wanted.count else {
            throw EdgekitError(
              "\(model.entry.path) gave no \(wanted.count) values of \(port.name)",
              hint: "put the bundle in again")
          }
          // The port's whole range counts as from black to white.
          let scale = Float(2 / (port.high - port.low))
          let found = Parity(
            reference: wanted.map { $0 * scale }, candidate: made.map { $0 * scale })
          worst = found.worse(than: worst)
        }
      }
    }
    guard let worst else { throw GoldenVectors.noSamples }
    return GoldenCheck(
      worst: worst, samples: samples, precision: "fp32", image: false,
      told: "The nets that find faces: largest difference from LiteRT")
  }
}
