#if canImport(CoreML)
  import CoreML
  import CoreVideo
  import EdgeKitCore
  import Foundation

  /// A Core ML package that can be called. The actor keeps the model, which is not Sendable on every
  /// system, and the pixel buffers, which are filled anew at each call.
  actor CoreMLEngine: Engine {
    private let model: MLModel
    private let entry: ModelEntry
    private var buffers: [String: CVPixelBuffer] = [:]

    /// Compile (once a file, kept by its sha256) and load.
    static func load(
      _ entry: ModelEntry, at url: URL, on unit: ComputeUnit, cache: CompiledCache
    ) async throws -> CoreMLEngine {
      let compiled = try await cache.url(sha256: entry.sha256) {
        try await MLModel.compileModel(at: url)
      }
      do {
        return try CoreMLEngine(entry, compiled, unit)
      } catch {
        // A system update may refuse what an older one compiled: compile it anew, once.
        cache.forget(sha256: entry.sha256)
        let fresh = try await cache.url(sha256: entry.sha256) {
          try await MLModel.compileModel(at: url)
        }
        return try CoreMLEngine(entry, fresh, unit)
      }
    }

    private init(_ entry: ModelEntry, _ compiled: URL, _ unit: ComputeUnit) throws {
      let configuration = MLModelConfiguration()
      switch unit {
      case .all: configuration.computeUnits = .all
      case .neuralEngine: configuration.computeUnits = .cpuAndNeuralEngine
      case .gpu: configuration.computeUnits = .cpuAndGPU
      case .cpu: configuration.computeUnits = .cpuOnly
      }
      self.entry = entry
      model = try MLModel(contentsOf: compiled, configuration: configuration)
    }

    func run(_ feeds: [String: Tensor]) async throws -> [String: Tensor] {
      var values: [String: MLFeatureValue] = [:]
      for port in entry.inputs {
        guard let feed = feeds[port.name] else {
          throw EdgekitError("\(entry.path) takes \(port.name)", hint: "give it a value")
        }
        switch feed {
        case .picture(let photo):
          values[port.name] = MLFeatureValue(pixelBuffer: try filled(port.name, photo))
        case .numbers(let numbers):
          let array = MLShapedArray<Float>(scalars: numbers, shape: port.shape)
          values[port.name] = MLFeatureValue(multiArray: MLMultiArray(array))
        }
      }
      let answer = try model.prediction(from: try MLDictionaryFeatureProvider(dictionary: values))
      var outputs: [String: Tensor] = [:]
      for port in entry.outputs {
        let value = answer.featureValue(for: port.name)
        if let buffer = value?.imageBufferValue {
          outputs[port.name] = .picture(try Photo(buffer))
        } else if let array = value?.multiArrayValue {
          // Converting also widens float16 and undoes strides.
          outputs[port.name] = .numbers(MLShapedArray<Float>(converting: array).scalars)
        }
      }
      return outputs
    }

    /// The port's buffer with this photo in it.
    private func filled(_ name: String, _ photo: Photo) throws -> CVPixelBuffer {
      let buffer = try buffers[name] ?? pictureBuffer(photo.size)
      buffers[name] = buffer
      try photo.write(to: buffer)
      return buffer
    }
  }
#endif
