#if canImport(CoreML)
  import EdgeKitCore
  import Foundation

  /// Opens a bundle's files on Apple's systems: Core ML packages, and Core AI assets from iOS 27.
  public struct DeviceLoader: EngineLoader {
    private let cache: CompiledCache

    /// `cache` keeps compiled Core ML models; the system may empty a caches folder at any time.
    public init(cache: CompiledCache) { self.cache = cache }

    public var formats: Set<String> {
      #if canImport(CoreAI)
        if #available(iOS 27.0, macOS 27.0, *) { return ["mlpackage", "aimodel"] }
      #endif
      return ["mlpackage"]
    }

    public func load(
      _ entry: ModelEntry, at url: URL, on unit: ComputeUnit
    ) async throws -> any Engine {
      switch entry.format {
      case "mlpackage":
        return try await CoreMLEngine.load(entry, at: url, on: unit, cache: cache)
      #if canImport(CoreAI)
        case "aimodel":
          if #available(iOS 27.0, macOS 27.0, *) {
            return try await CoreAIEngine(entry, at: url, on: unit)
          }
      #endif
      default: break
      }
      throw EdgekitError(
        "\(entry.path) needs \(entry.minimumOS ?? "another system")", hint: "choose another file")
    }
  }
#endif
