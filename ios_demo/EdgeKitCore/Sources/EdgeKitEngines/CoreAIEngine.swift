#if canImport(CoreAI)
  import CoreAI
  import EdgeKitCore
  import Foundation

  /// A Core AI asset that can be called (iOS 27). Its ports are arrays: pictures go in as numbers.
  @available(iOS 27.0, macOS 27.0, *)
  struct CoreAIEngine: Engine {
    private let function: InferenceFunction
    private let entry: ModelEntry

    /// Core AI specialises the asset for this device and keeps what it made in a cache of its own.
    init(_ entry: ModelEntry, at url: URL, on unit: ComputeUnit) async throws {
      let options: SpecializationOptions =
        switch unit {
        case .all: .default
        case .neuralEngine: SpecializationOptions(preferredComputeUnitKind: .neuralEngine)
        case .gpu: SpecializationOptions(preferredComputeUnitKind: .gpu)
        case .cpu: .cpuOnly
        }
      let model = try await AIModel(contentsOf: url, options: options)
      let names = model.functionNames
      guard let name = names.contains("main") ? "main" : names.first,
        let function = try model.loadFunction(named: name)
      else {
        throw EdgekitError("\(entry.path) holds no function", hint: "export the bundle again")
      }
      (self.function, self.entry) = (function, entry)
    }

    func run(_ feeds: [String: Tensor]) async throws -> [String: Tensor] {
      var inputs: [String: NDArray] = [:]
      for port in entry.inputs {
        guard case .numbers(let values) = feeds[port.name] else {
          throw EdgekitError("\(entry.path) takes numbers for \(port.name)", hint: "give it some")
        }
        inputs[port.name] =
          port.dtype == "float16"
          ? NDArray(scalars: values.map { Float16($0) }, shape: port.shape)
          : NDArray(scalars: values, shape: port.shape)
      }
      var answer = try await function.run(inputs: inputs)
      var outputs: [String: Tensor] = [:]
      for port in entry.outputs {
        guard let value = answer.remove(port.name), let array = value.ndArray else { continue }
        outputs[port.name] = .numbers(numbers(array))
      }
      return outputs
    }

    /// The elements row by row, whatever type and strides the runtime chose.
    private func numbers(_ array: NDArray) -> [Float] {
      array.scalarType == .float16
        ? elements(array, as: Float16.self) { Float($0) } : elements(array, as: Float.self) { $0 }
    }

    private func elements<Scalar: BitwiseCopyable>(
      _ array: NDArray, as type: Scalar.Type, _ widened: (Scalar) -> Float
    ) -> [Float] {
      array.view(as: type).withUnsafePointer { pointer, shape, strides in
        // Spans are no sequences: their elements are taken one by one.
        var (index, offset, count) = ([Int](), 0, 1)
        for axis in 0..<shape.count {
          index.append(0)
          count *= shape[axis]
        }
        var made = [Float]()
        made.reserveCapacity(count)
        while made.count < count {
          made.append(widened(pointer[offset]))
          var axis = shape.count - 1
          while axis >= 0 {
            index[axis] += 1
            offset += strides[axis]
            if index[axis] < shape[axis] { break }
            offset -= strides[axis] * shape[axis]
            index[axis] = 0
            axis -= 1
          }
        }
        return made
      }
    }
  }
#endif
