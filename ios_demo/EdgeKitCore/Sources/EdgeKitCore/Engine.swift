import Foundation

/// What goes into a port or comes out of it.
public enum Tensor: Sendable, Equatable {
  /// Numbers in the port's own layout.
  case numbers([Float])
  /// A picture object, for ports that are images.
  case picture(Photo)
}

/// A loaded model that can be called; the only seam that is timed.
public protocol Engine: Sendable {
  func run(_ feeds: [String: Tensor]) async throws -> [String: Tensor]
}

/// Where a model may run.
public enum ComputeUnit: String, Codable, CaseIterable, Sendable, Identifiable {
  case all
  case neuralEngine = "neural-engine"
  case gpu
  case cpu

  public var id: String { rawValue }

  public var label: String {
    switch self {
    case .all: "Automatic"
    case .neuralEngine: "Neural Engine"
    case .gpu: "Graphics processor"
    case .cpu: "Processor"
    }
  }

  /// What is tried, in order, when this unit was asked for.
  var attempts: [ComputeUnit] {
    switch self {
    case .all: [.all, .cpu]
    case .neuralEngine: [.neuralEngine, .all, .cpu]
    case .gpu: [.gpu, .all, .cpu]
    case .cpu: [.cpu]
    }
  }
}

/// Opens model files; the app's is Core ML and Core AI.
public protocol EngineLoader: Sendable {
  /// Formats that this device runs.
  var formats: Set<String> { get }
  /// Load the file at `url`, whose bytes were compared with the manifest.
  func load(_ entry: ModelEntry, at url: URL, on unit: ComputeUnit) async throws -> any Engine
}

/// A model that was loaded and has answered once.
public struct LoadedModel: Sendable {
  public let engine: any Engine
  /// The unit that was asked for in the attempt that worked.
  public let unit: ComputeUnit
  /// A sentence if it is not the unit that the user chose; else empty.
  public let note: String
  public let loadMs: Double
  public let firstMs: Double
}

/// Load a model on `unit`; if it does not load or does not answer there, on the next one.
///
/// Each attempt is tried with one call on an empty picture, because a unit may accept a model and
/// fail only when it is called. That call is the first one, whose time is told apart from the others.
public func loadWithFallback(
  _ entry: ModelEntry, at url: URL, on unit: ComputeUnit, by loader: any EngineLoader,
  clock: Clock = .system
) async throws -> LoadedModel {
  var failures: [String] = []
  for attempt in unit.attempts {
    do {
      let start = clock.wallMs()
      let engine = try await loader.load(entry, at: url, on: attempt)
      let loaded = clock.wallMs()
      _ = try await engine.run(emptyFeeds(entry.inputs))
      let note =
        attempt == unit
        ? ""
        : "\(unit.label) is not used (\(failures.joined(separator: "; "))); \(attempt.label) is."
      return LoadedModel(
        engine: engine, unit: attempt, note: note, loadMs: loaded - start,
        firstMs: clock.wallMs() - loaded)
    } catch let error as CancellationError {
      throw error
    } catch {
      failures.append((error as? EdgekitError)?.what ?? error.localizedDescription)
    }
  }
  throw EdgekitError(
    "\(entry.path) runs on no unit of this device (\(failures.joined(separator: "; ")))",
    hint: "choose another file of the bundle")
}

private func emptyFeeds(_ ports: [ModelPort]) -> [String: Tensor] {
  Dictionary(
    uniqueKeysWithValues: ports.map { port in
      if port.isImage, let size = port.pictureSize {
        let grey = [UInt8](repeating: 128, count: size.height * size.width * 3)
        return (port.name, Tensor.picture(Photo(size: size, bytes: grey)))
      }
      return (port.name, Tensor.numbers([Float](repeating: 0, count: port.shape.reduce(1, *))))
    })
}

/// Wall and processor time; replaced in tests, which then know every number.
public struct Clock: Sendable {
  public let wallMs: @Sendable () -> Double
  public let cpuMs: @Sendable () -> Double

  public init(
    wallMs: @escaping @Sendable () -> Double, cpuMs: @escaping @Sendable () -> Double
  ) {
    (self.wallMs, self.cpuMs) = (wallMs, cpuMs)
  }

  public static let system = Clock(
    wallMs: { milliseconds(CLOCK_MONOTONIC) }, cpuMs: { milliseconds(CLOCK_PROCESS_CPUTIME_ID) })

  private static func milliseconds(_ clock: clockid_t) -> Double {
    var now = timespec()
    clock_gettime(clock, &now)
    return Double(now.tv_sec) * 1e3 + Double(now.tv_nsec) / 1e6
  }
}
