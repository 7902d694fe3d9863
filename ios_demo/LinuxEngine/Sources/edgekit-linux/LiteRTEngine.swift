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

/// The library, which holds one open model: another one's turn opens that again.
private actor LiteRT {
  static let shared = LiteRT()

  private var started = false
  private var current: URL?

  func open(_ entry: ModelEntry, at url: URL) throws -> LiteRTEngine {
    try turn(to: url)
    return LiteRTEngine(entry: entry, url: url)
  }

  private func turn(to url: URL) throws {
    if !started {
      guard let library = ProcessInfo.processInfo.environment["EDGEKIT_LITERT"] else {
        throw EdgekitError("EDGEKIT_LITERT is not set", hint: "set it to libLiteRt.so")
      }
      try tried(crunner_start(library))
      started = true
    }
    guard current != url else { return }
    current = nil
    try tried(crunner_open(url.path, 1))
    current = url
  }

  func run(_ feeds: [String: Tensor], _ url: URL) throws -> [String: Tensor] {
    try turn(to: url)
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
  let url: URL

  func run(_ feeds: [String: Tensor]) async throws -> [String: Tensor] {
    try await LiteRT.shared.run(feeds, url)
  }
}
