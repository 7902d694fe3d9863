import EdgeKitCore
import Foundation

extension Studio {
  /// Time the loaded file and keep the result.
  public func measure(calls: Int, warmup: Int = 5) async {
    guard !isMeasuring, let editor else { return }
    (isMeasuring, isLive) = (true, false)
    defer { (isMeasuring, progress) = (false, nil) }
    await guarded {
      if isBase { try await editor.use(weights) }
      let row = try await editor.measure(calls: calls, warmup: warmup, device: device, clock: clock)
      {
        [weak self] event in await self?.told(event, warmup: warmup)
      }
      history.add(row)
      try save()
      say(
        row.warnings.isEmpty
          ? "Measured." : "Measured, but \(row.warnings.joined(separator: "; ")).",
        error: !row.goldenPasses)
    }
  }

  private func told(_ event: BenchmarkEvent, warmup: Int) {
    switch event {
    case .call(let index, let calls, _, _, _):
      progress = Double(index + warmup + 1) / Double(calls + warmup)
    }
  }

  /// Compare the loaded file, and the nets that find faces, with what Python computed.
  public func check() async {
    await guarded {
      guard let editor else { return }
      var checks = [try await editor.check()]
      if let nets { checks.append(try await nets.check()) }
      checkLine = checks.map(\.sentence).joined(separator: " ")
      let failed = checks.first { !$0.passes }
      say(failed?.sentence ?? "Checked.", error: failed != nil)
    }
  }

  /// Compare other rows with this one; the same row again ends that.
  public func toggleBaseline(_ id: UUID) async {
    history.setBaseline(history.baseline == id ? nil : id)
    await guarded { try save() }
  }

  public func clearHistory() async {
    history.clear()
    await guarded { try save() }
  }

  private func save() throws {
    if let historyFile { try history.write(historyFile) }
  }

  /// What the share sheet gets; nil before the first measurement.
  public var report: Data? {
    guard !history.rows.isEmpty else { return nil }
    let name = bundle?.manifest.name ?? ""
    return try? BenchmarkReport(device: device, bundle: name, rows: history.rows).json()
  }
}

extension BenchmarkRow {
  /// The numbers of a measurement in one line.
  public var line: String {
    let rest = [("p90", summary.p90), ("p99", summary.p99)].compactMap { name, value in
      value.map { "\(name) \(decimals($0, 1)) ms" }
    }
    let parts = ["p50 \(decimals(summary.p50, 1)) ms"] + rest
    return parts.joined(separator: ", ")
      + "; load \(decimals(loadMs, 0)) ms, first \(decimals(firstMs, 1)) ms; "
      + thermal.joined(separator: " → ")
  }
}
