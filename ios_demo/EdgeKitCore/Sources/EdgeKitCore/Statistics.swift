import Foundation

/// Calls below which no p90 is given.
public let enoughForP90 = 10
/// Calls below which no p99 is given: it would be the slowest call or the one before.
public let enoughForP99 = 100

/// Return a percentile (0 to 100) with linear interpolation between ranks, as numpy has it.
public func percentile(_ values: [Double], _ percent: Double) -> Double {
  precondition(!values.isEmpty, "no values")
  let sorted = values.sorted()
  let at = Double(sorted.count - 1) * percent / 100
  let low = Int(at)
  let high = min(low + 1, sorted.count - 1)
  return sorted[low] + (sorted[high] - sorted[low]) * (at - Double(low))
}

/// Statistics of a run of calls; milliseconds.
public struct Summary: Codable, Sendable, Equatable {
  public let calls: Int
  public let p50: Double
  /// nil for fewer than `enoughForP90` calls.
  public let p90: Double?
  /// nil for fewer than `enoughForP99` calls.
  public let p99: Double?
  public let min: Double
  /// Median absolute deviation over the median.
  public let spread: Double
  /// Median of the last third of the calls over that of the first third; 1 is steady.
  public let drift: Double
  /// A sentence for each reason to doubt the numbers.
  public let warnings: [String]

  private enum CodingKeys: String, CodingKey {
    case calls, spread, drift, warnings
    case p50 = "p50_ms"
    case p90 = "p90_ms"
    case p99 = "p99_ms"
    case min = "min_ms"
  }

  /// `ms` are the calls after warm-up, in order; at least one.
  public init(_ ms: [Double]) {
    let middle = percentile(ms, 50)
    let third = ms.count / 3
    calls = ms.count
    p50 = middle
    p90 = ms.count >= enoughForP90 ? percentile(ms, 90) : nil
    p99 = ms.count >= enoughForP99 ? percentile(ms, 99) : nil
    min = ms.min() ?? 0
    spread = middle > 0 ? percentile(ms.map { abs($0 - middle) }, 50) / middle : 0
    drift =
      third > 0
      ? percentile(Array(ms.suffix(third)), 50) / percentile(Array(ms.prefix(third)), 50) : 1
    var doubts: [String] = []
    if ms.count < enoughForP90 {
      doubts.append("only \(ms.count) \(ms.count == 1 ? "call" : "calls")")
    }
    if spread > 0.1 {
      let share = Int((spread * 100).rounded())
      doubts.append("unstable: half of the calls are more than \(share)% off the median")
    }
    if abs(drift - 1) > 0.15 {
      let times = decimals(drift, 2)
      doubts.append("drifting: the last third took \(times) times the first third")
    }
    warnings = doubts
  }
}

/// Two pictures compared, values in [-1, 1], as `edgekit verify` does.
public struct Parity: Sendable, Equatable {
  public let maxAbs: Double
  /// 999 stands for identical pictures.
  public let psnrDB: Double

  public init(reference: [Float], candidate: [Float]) {
    precondition(reference.count == candidate.count, "the pictures differ in size")
    var (worst, sum) = (0.0, 0.0)
    for (one, two) in zip(reference, candidate) {
      let off = Double(one) - Double(two)
      if off.isNaN || abs(off) > worst { worst = abs(off) }  // a NaN stays
      sum += off * off
    }
    maxAbs = worst
    psnrDB = sum == 0 ? 999 : 10 * log10(4 / (sum / Double(reference.count)))
  }
}

/// A number with so many decimals, spelt the same in every language.
public func decimals(_ value: Double, _ count: Int) -> String {
  String(format: "%.\(count)f", value)
}
