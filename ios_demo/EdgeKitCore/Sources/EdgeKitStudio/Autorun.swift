import EdgeKitCore
import Foundation

/// A benchmark without a finger: started by environment variables, answered by lines of JSON.
///
///     EDGEKIT_AUTORUN=1        measure each file of each bundle, then end
///     EDGEKIT_CALLS=100        calls that count
///     EDGEKIT_WARMUP=5         calls before them
///     EDGEKIT_UNIT=all         all, neural-engine, gpu or cpu
///     EDGEKIT_FILE=ios/x.fp16.mlpackage   only this file
///
/// One object a line: start, loaded, warm and run for each call, end; or error.
public struct Autorun: Sendable, Equatable {
  public let calls: Int
  public let warmup: Int
  public let unit: ComputeUnit
  public let file: String?

  /// nil unless EDGEKIT_AUTORUN asks for it; throws for a value that cannot be meant.
  public init?(environment: [String: String]) throws {
    guard let asked = environment["EDGEKIT_AUTORUN"], !["", "0"].contains(asked) else { return nil }
    func number(_ name: String, _ standard: Int, _ range: ClosedRange<Int>) throws -> Int {
      guard let text = environment[name] else { return standard }
      guard let value = Int(text), range.contains(value) else {
        throw EdgekitError(
          "\(name)=\(text)", hint: "give a number from \(range.lowerBound) to \(range.upperBound)")
      }
      return value
    }
    calls = try number("EDGEKIT_CALLS", 100, 1...100_000)
    warmup = try number("EDGEKIT_WARMUP", 5, 0...1000)
    let word = environment["EDGEKIT_UNIT"] ?? ComputeUnit.all.rawValue
    guard let unit = ComputeUnit(rawValue: word) else {
      let known = ComputeUnit.allCases.map(\.rawValue).joined(separator: ", ")
      throw EdgekitError("EDGEKIT_UNIT=\(word)", hint: "known: \(known)")
    }
    self.unit = unit
    file = environment["EDGEKIT_FILE"]
  }

  /// Measure, and hand each line to `print`. Returns whether every file ran and passed its check.
  public func run(
    bundles: [BundleFolder], loader: any EngineLoader, system: Int,
    device: DeviceProbe = .current, clock: Clock = .system,
    print: @escaping @Sendable (String) -> Void
  ) async -> Bool {
    var (passed, ran) = (true, 0)
    for bundle in bundles {
      let models = bundle.manifest.runnable(formats: loader.formats, system: system)
      for entry in models where file == nil || file == entry.path {
        ran += 1
        let lines = Lines(print: print)
        do {
          passed = try await measure(bundle, entry, loader, device, clock, lines) && passed
        } catch {
          lines.write([
            "event": .text("error"), "file": .text(entry.path),
            "message": .text(sentence(of: error)),
          ])
          passed = false
        }
      }
    }
    if ran == 0 {
      let message = file.map { "no bundle holds \($0)" } ?? "no bundle holds a file for this device"
      Lines(print: print).write(["event": .text("error"), "message": .text(message)])
    }
    return passed && ran > 0
  }

  private func measure(
    _ bundle: BundleFolder, _ entry: ModelEntry, _ loader: any EngineLoader,
    _ device: DeviceProbe, _ clock: Clock, _ lines: Lines
  ) async throws -> Bool {
    lines.write([
      "event": .text("start"), "protocol": .text("ios-latency-1"), "device": .text(device.model),
      "system": .text(device.system), "bundle": .text(bundle.manifest.name),
      "file": .text(entry.path), "sha256": .text(entry.sha256), "calls": .whole(calls),
      "warmup": .whole(warmup), "thermal": .text(device.thermal()),
    ])
    let editor = try await Editor(bundle, entry, on: unit, by: loader, clock: clock)
    lines.write([
      "event": .text("loaded"), "unit": .text(editor.model.unit.rawValue),
      "note": .text(editor.model.note), "load_ms": .number(editor.model.loadMs),
      "first_ms": .number(editor.model.firstMs),
    ])
    if bundle.manifest.adapterInput != nil, let first = bundle.manifest.concepts.first {
      try await editor.use([(first.name, 1)])
    }
    let row = try await editor.measure(calls: calls, warmup: warmup, device: device, clock: clock) {
      event in lines.write(event)
    }
    lines.write([
      "event": .text("end"), "p50_ms": .number(row.summary.p50),
      "p90_ms": .optional(row.summary.p90),
      "p99_ms": .optional(row.summary.p99), "drift": .number(row.summary.drift),
      "golden_db": .number(row.goldenDB), "golden_passes": .truth(row.goldenPasses),
      "memory_bytes": .optional(row.memoryBytes.map(Double.init)),
      "warnings": .list(row.warnings),
    ])
    return row.goldenPasses
  }
}

/// Writes objects as single lines, keys sorted.
private final class Lines: Sendable {
  enum Field: Encodable {
    case text(String)
    case whole(Int)
    case number(Double)
    case optional(Double?)
    case truth(Bool)
    case list([String])

    func encode(to encoder: any Encoder) throws {
      var value = encoder.singleValueContainer()
      switch self {
      case .text(let text): try value.encode(text)
      case .whole(let number): try value.encode(number)
      case .number(let number): try value.encode(number)
      case .optional(let number): try value.encode(number)
      case .truth(let truth): try value.encode(truth)
      case .list(let list): try value.encode(list)
      }
    }
  }

  private let print: @Sendable (String) -> Void

  init(print: @escaping @Sendable (String) -> Void) { self.print = print }

  func write(_ fields: [String: Field]) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(fields) else { return }
    print(String(decoding: data, as: UTF8.self))
  }

  func write(_ event: BenchmarkEvent) {
    switch event {
    case .call(let index, _, let ms, let cpuMs, let thermal):
      let name = index < 0 ? "warm" : "run"
      write([
        "event": .text(name), "i": .whole(index), "ns": .whole(Int(ms * 1e6)),
        "cpu_ns": .whole(Int(cpuMs * 1e6)), "thermal": .text(thermal),
      ])
    }
  }
}
