import Foundation

/// What a device says of itself; replaced in tests.
public struct DeviceProbe: Sendable {
  public let model: String
  public let system: String
  /// "nominal", "fair", "serious" or "critical".
  public let thermal: @Sendable () -> String
  /// Most memory that this process had so far, in bytes; nil where the system does not tell.
  public let memory: @Sendable () -> Int?

  public init(
    model: String, system: String, thermal: @escaping @Sendable () -> String,
    memory: @escaping @Sendable () -> Int?
  ) {
    (self.model, self.system, self.thermal, self.memory) = (model, system, thermal, memory)
  }

  /// This machine, as Foundation sees it.
  public static var current: DeviceProbe {
    let version = ProcessInfo.processInfo.operatingSystemVersion
    return DeviceProbe(
      model: machine(),
      system: "\(version.majorVersion).\(version.minorVersion).\(version.patchVersion)",
      thermal: { thermalWord() }, memory: { peakMemory() })
  }

  private static func machine() -> String {
    var facts = utsname()
    uname(&facts)
    return withUnsafeBytes(of: &facts.machine) { bytes in
      String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
  }

  private static func peakMemory() -> Int? {
    var usage = rusage()
    #if canImport(Darwin)
      let status = getrusage(RUSAGE_SELF, &usage)
      let unit = 1
    #else
      let status = getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
      let unit = 1024  // Linux counts in KiB
    #endif
    return status == 0 ? Int(usage.ru_maxrss) * unit : nil
  }

  private static func thermalWord() -> String {
    #if canImport(Darwin)
      switch ProcessInfo.processInfo.thermalState {
      case .nominal: return "nominal"
      case .fair: return "fair"
      case .serious: return "serious"
      case .critical: return "critical"
      @unknown default: return "unknown"
      }
    #else
      return "unknown"
    #endif
  }
}

/// One measured file: raw samples are kept, everything else is computed from them.
public struct BenchmarkRow: Codable, Sendable, Equatable, Identifiable {
  public let id: UUID
  public let date: Date
  public let file: String
  public let sha256: String
  public let unit: ComputeUnit
  public let note: String
  public let loadMs: Double
  public let firstMs: Double
  public let warmup: Int
  public let summary: Summary
  public let thermal: [String]
  public let memoryBytes: Int?
  /// Of the golden check in the same run; a fast wrong answer is no result.
  public let goldenDB: Double
  public let goldenPasses: Bool
  public let warnings: [String]
  public let samplesMs: [Double]
  public let cpuMs: [Double]

  private enum CodingKeys: String, CodingKey {
    case id, date, file, sha256, unit, note, warmup, summary, thermal, warnings
    case loadMs = "load_ms"
    case firstMs = "first_ms"
    case memoryBytes = "memory_bytes"
    case goldenDB = "golden_db"
    case goldenPasses = "golden_passes"
    case samplesMs = "samples_ms"
    case cpuMs = "cpu_ms"
  }
}

/// What is exported: the rows with the facts of the device.
public struct BenchmarkReport: Codable, Sendable {
  public let `protocol`: String
  public let device: String
  public let system: String
  public let bundle: String
  public let rows: [BenchmarkRow]

  public init(device: DeviceProbe, bundle: String, rows: [BenchmarkRow]) {
    `protocol` = "ios-latency-1"
    (self.device, system) = (device.model, device.system)
    (self.bundle, self.rows) = (bundle, rows)
  }

  public func json() throws -> Data { try encoder(pretty: true).encode(self) }
}

func encoder(pretty: Bool) -> JSONEncoder {
  let encoder = JSONEncoder()
  encoder.dateEncodingStrategy = .iso8601
  encoder.outputFormatting = pretty ? [.prettyPrinted, .sortedKeys] : [.sortedKeys]
  return encoder
}

extension Editor {
  /// Time `calls` calls of the model on one tile, after `warmup` that do not count, and compare with
  /// the golden vectors in the same run.
  public func measure(
    calls: Int, warmup: Int = 5, device: DeviceProbe = .current, clock: Clock = .system,
    each: @Sendable (BenchmarkEvent) async -> Void = { _ in }
  ) async throws -> BenchmarkRow {
    guard calls > 0, warmup >= 0 else {
      throw EdgekitError("\(calls) calls cannot be measured", hint: "give at least 1")
    }
    let count = tile.height * tile.width * 3
    let photo = Photo(size: tile, bytes: (0..<count).map { UInt8($0 * 7 % 256) })
    var (wall, cpu): ([Double], [Double]) = ([], [])
    var thermal = [device.thermal()]
    for index in 0..<warmup + calls {
      try Task.checkCancellation()
      let made = try await edit(photo)
      let spent = made.latency.modelCPU
      if index >= warmup {
        wall.append(made.latency.model)
        cpu.append(spent)
      }
      let now = device.thermal()
      if now != thermal.last { thermal.append(now) }
      await each(
        .call(index: index - warmup, of: calls, ms: made.latency.model, cpuMs: spent, thermal: now))
    }
    let golden = try await check()
    let summary = Summary(wall)
    return BenchmarkRow(
      id: UUID(), date: Date(), file: entry.path, sha256: entry.sha256, unit: model.unit,
      note: model.note, loadMs: model.loadMs, firstMs: model.firstMs, warmup: warmup,
      summary: summary, thermal: thermal, memoryBytes: device.memory(),
      goldenDB: golden.worst.psnrDB, goldenPasses: golden.passes,
      warnings: summary.warnings + doubts(thermal, golden), samplesMs: wall, cpuMs: cpu)
  }

  private nonisolated func doubts(_ thermal: [String], _ golden: GoldenCheck) -> [String] {
    var found: [String] = []
    if let hot = thermal.first(where: { $0 == "serious" || $0 == "critical" }) {
      found.append("throttled: the device's temperature was \(hot)")
    }
    if !golden.passes { found.append("wrong: \(golden.sentence)") }
    return found
  }
}

/// Told while a measurement runs.
public enum BenchmarkEvent: Sendable, Equatable {
  /// `index` is negative during warm-up.
  case call(index: Int, of: Int, ms: Double, cpuMs: Double, thermal: String)
}

/// A measurement against an earlier one: ratio of medians, and its 95 % bootstrap interval.
public struct Comparison: Sendable, Equatable {
  public let ratio: Double
  public let low: Double
  public let high: Double
  /// Whether one of the two has warnings: an interval of drifting samples promises too much.
  public let isDoubtful: Bool

  /// Above 1 `row` is slower than `baseline`. The seed is fixed: the same samples, the same answer.
  public init(_ row: BenchmarkRow, to baseline: BenchmarkRow, resamples: Int = 500) {
    var random = SplitMix(state: 1)
    func resampledMedian(_ values: [Double]) -> Double {
      percentile(values.map { _ in values[Int(random.next() % UInt64(values.count))] }, 50)
    }
    ratio = row.summary.p50 / baseline.summary.p50
    let ratios = (0..<resamples).map { _ in
      resampledMedian(row.samplesMs) / resampledMedian(baseline.samplesMs)
    }
    (low, high) = (percentile(ratios, 2.5), percentile(ratios, 97.5))
    isDoubtful = !(row.warnings + baseline.warnings).isEmpty
  }

  public var sentence: String {
    let interval = "\(decimals(low, 2)) to \(decimals(high, 2))"
    let times = "\(decimals(ratio, 2)) times the baseline (\(interval))"
    let verdict = low > 1 ? "Slower" : high < 1 ? "Faster" : "No difference shown"
    return "\(verdict): \(times)."
      + (isDoubtful ? " One of the two is doubtful, see the warnings." : "")
  }
}

/// A small generator whose sequence is the same everywhere (Steele, Lea and Flood 2014).
struct SplitMix: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}
