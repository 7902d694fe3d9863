import CRunner
import EdgeKitCore
import Foundation

/// Opens .tflite files with the LiteRT library that EDGEKIT_LITERT names.
struct LiteRTLoader: EngineLoader {
  let formats: Set<String> = ["tflite"]

  func load(
    _ entry: ModelEntry, at url: URL, on unit: ComputeUnit
  ) async throws -> any Engine {
    guard unit == .all || unit == .cpu else {
      throw EdgekitError("this machine has no \(unit.label)", hint: "choose the processor")
    }
    return try await LiteRT.shared.open(entry, at: url)
  }
}

/// The library's one open model. An engine that was overtaken says so instead of answering.
private actor LiteRT {
  static let shared = LiteRT()

  private var started = false
  private var generation = 0

  func open(_ entry: ModelEntry, at url: URL) throws -> LiteRTEngine {
    if !started {
      guard let library = ProcessInfo.processInfo.environment["EDGEKIT_LITERT"] else {
        throw EdgekitError("EDGEKIT_LITERT is not set", hint: "set it to libLiteRt.so")
      }
      try tried(crunner_start(library))
      started = true
    }
    generation += 1
    try tried(crunner_open(url.path, 1))
    return LiteRTEngine(entry: entry, generation: generation)
  }

  func run(_ feeds: [String: Tensor], _ mine: Int) throws -> [String: Tensor] {
    guard mine == generation else {
      throw EdgekitError("another model was opened", hint: "open this one again")
    }
    for index in 0..<crunner_num_inputs() {
      let name = String(cString: crunner_name(1, index))
      let bytes = crunner_bytes(1, index)
      guard case .numbers(let values) = feeds[name], values.count * 4 == bytes else {
        throw EdgekitError("\(name) takes \(bytes / 4) numbers", hint: "feed as many")
      }
      values.withUnsafeBytes {
        crunner_data(1, index).copyMemory(from: $0.baseAddress!, byteCount: bytes)
      }
    }
    try tried(crunner_run())
    var outputs: [String: Tensor] = [:]
    for index in 0..<crunner_num_outputs() {
      let count = crunner_bytes(0, index) / 4
      let data = crunner_data(0, index).assumingMemoryBound(to: Float.self)
      outputs[String(cString: crunner_name(0, index))] = .numbers(
        Array(UnsafeBufferPointer(start: data, count: count)))
    }
    return outputs
  }

  private func tried(_ status: Int32) throws {
    if status != 0 {
      throw EdgekitError(String(cString: crunner_reason()), hint: "export the bundle again")
    }
  }
}

private struct LiteRTEngine: Engine {
  let entry: ModelEntry
  let generation: Int

  func run(_ feeds: [String: Tensor]) async throws -> [String: Tensor] {
    try await LiteRT.shared.run(feeds, generation)
  }
}
