import Foundation
import Testing

@testable import EdgeKitCore
@testable import EdgeKitStudio

private func device(_ states: [String] = ["nominal"]) -> DeviceProbe {
  let left = Lines(states)
  return DeviceProbe(
    model: "iPhone0,0", system: "17.0", thermal: { left.next() }, memory: { 1000 })
}

/// Hands out the given words, the last one again and again; or collects words.
final class Lines: @unchecked Sendable {
  private let lock = NSLock()
  private var words: [String]
  private(set) var all: [String] = []

  init(_ words: [String] = []) { self.words = words }

  func next() -> String {
    lock.withLock { words.count > 1 ? words.removeFirst() : words[0] }
  }

  func add(_ word: String) { lock.withLock { all.append(word) } }
}

private func row(_ ms: [Double], warnings: [String] = []) throws -> BenchmarkRow {
  let facts: [String: Any] = [
    "id": UUID().uuidString, "date": "2026-01-01T00:00:00Z", "file": "f", "sha256": "s",
    "unit": "all", "note": "", "load_ms": 1, "first_ms": 1, "warmup": 0,
    "summary": try JSONSerialization.jsonObject(with: JSONEncoder().encode(Summary(ms))),
    "thermal": ["nominal"], "golden_db": 999, "golden_passes": true, "warnings": warnings,
    "samples_ms": ms, "cpu_ms": ms,
  ]
  let decoder = JSONDecoder()
  decoder.dateDecodingStrategy = .iso8601
  return try decoder.decode(
    BenchmarkRow.self, from: JSONSerialization.data(withJSONObject: facts))
}

@Suite("The benchmark")
struct BenchmarkTests {
  @Test func onlyTheModelsCallsAreTimedAndWarmUpDoesNotCount() async throws {
    let bundle = try TestBundle().opened()
    let engine = TestEngine()
    let clock = TestClock().clock
    let editor = try await Editor(
      bundle, bundle.manifest.models[0], on: .all, by: TestLoader(engine), clock: clock)

    let row = try await editor.measure(calls: 12, warmup: 3, device: device(), clock: clock)

    #expect(row.samplesMs == [Double](repeating: 1, count: 12))  // one tick a call
    #expect(await engine.calls == 1 + 15 + 2)  // the trial, the calls, the golden samples
    #expect(row.summary.p90 == 1 && row.summary.p99 == nil)
    #expect(row.goldenPasses && row.goldenDB > 100)
    #expect(row.warnings.isEmpty)
  }

  @Test func heatAndWrongAnswersAreDoubts() async throws {
    let bundle = try TestBundle().opened()
    let wrong = TestLoader(TestEngine(strength: -0.5))
    let editor = try await Editor(bundle, bundle.manifest.models[0], on: .all, by: wrong)

    let row = try await editor.measure(
      calls: 10, warmup: 0, device: device(["nominal", "fair", "serious"]))

    #expect(row.thermal == ["nominal", "fair", "serious"])
    #expect(row.warnings.contains { $0.contains("throttled") })
    #expect(!row.goldenPasses && row.warnings.contains { $0.contains("wrong") })
  }

  @Test func theBarsAreThoseOfVerify() {
    func passes(_ precision: String, _ off: Float, image: Bool = false) -> Bool {
      let worst = Parity(reference: [0, 0], candidate: [off, off])
      return GoldenCheck(worst: worst, samples: 1, precision: precision, image: image).passes
    }

    #expect(passes("fp32", 9e-5) && !passes("fp32", 2e-4))
    #expect(passes("fp32", 2.0 / 255, image: true) && !passes("fp32", 4.0 / 255, image: true))
    #expect(passes("fp16", 0.003) && !passes("fp16", 0.005))
    #expect(passes("int8", 0.03) && !passes("int8", 0.05))
    #expect(!passes("int8", .nan))
  }

  @Test func aSlowerRunIsToldFromAnEqualOne() throws {
    let base = try row((0..<30).map { 10 + Double($0 % 5) / 10 })
    let equal = try row((0..<30).map { 10 + Double($0 % 7) / 14 })
    let slower = try row((0..<30).map { 12 + Double($0 % 5) / 10 })

    #expect(Comparison(equal, to: base).sentence.hasPrefix("No difference shown"))
    let found = Comparison(slower, to: base)
    #expect(found.sentence.hasPrefix("Slower: 1.20 times"))
    #expect(found.low <= found.ratio && found.ratio <= found.high)
    #expect(Comparison(base, to: slower).sentence.hasPrefix("Faster"))
    #expect(!found.isDoubtful)
    let drifting = try row(slower.samplesMs, warnings: ["drifting"])
    #expect(
      Comparison(base, to: drifting).sentence.hasSuffix(
        "One of the two is doubtful, see the warnings."))
  }

  @Test func theHistoryKeepsItsBaselineAndSurvivesDamage() throws {
    let file = try temporaryFolder().appendingPathComponent("deep/history.json")
    var history = BenchmarkHistory()
    let base = try row([1, 2, 3])
    history.add(base)
    history.setBaseline(base.id)
    for _ in 0..<BenchmarkHistory.most { history.add(try row([2, 3, 4])) }
    #expect(history.rows.count == BenchmarkHistory.most)
    #expect(history.rows.contains(base))
    #expect(history.comparison(base) == nil)
    #expect(history.comparison(try #require(history.rows.last)) != nil)

    try history.write(file)
    #expect(BenchmarkHistory.read(file) == history)
    try Data("{".utf8).write(to: file)
    #expect(BenchmarkHistory.read(file) == BenchmarkHistory())
    #expect(FileManager.default.fileExists(atPath: file.path + ".damaged"))
  }

  @MainActor @Test func theStudioMeasuresKeepsAndExports() async throws {
    let file = try temporaryFolder().appendingPathComponent("history.json")
    let made = Studio(loader: TestLoader(), system: 17, device: device(), historyFile: file)
    await made.start(bundlesIn: try TestBundle().shelf())
    #expect(made.report == nil)

    await made.measure(calls: 10)
    await made.toggleBaseline(try #require(made.history.rows.first?.id))
    await made.measure(calls: 10)
    await made.check()

    #expect(made.history.rows.count == 2)
    #expect(made.checkLine.contains("It passes (1e-4)"))
    #expect(BenchmarkHistory.read(file).rows.map(\.id) == made.history.rows.map(\.id))
    let json = try JSONSerialization.jsonObject(with: try #require(made.report)) as? [String: Any]
    #expect(json?["protocol"] as? String == "ios-latency-1")
    let first = try #require((json?["rows"] as? [[String: Any]])?.first)
    #expect((first["samples_ms"] as? [Double])?.count == 10)
    await made.clearHistory()
    #expect(made.history.rows.isEmpty)
  }

  @Test func compiledModelsAreKeptByHashAndTheOldestGoes() async throws {
    let folder = try temporaryFolder()
    let cache = CompiledCache(folder: folder.appendingPathComponent("cache"), most: 2)
    let compiled = Lines()
    func url(_ hash: String) async throws -> URL {
      try await cache.url(sha256: hash) {
        compiled.add(hash)
        let made = folder.appendingPathComponent(UUID().uuidString)
        try write(Data(hash.utf8), to: made.appendingPathComponent("weights"))
        return made
      }
    }
    for hash in ["a", "b", "a", "c", "b"] {
      let place = try await url(hash)
      #expect(try Data(contentsOf: place.appendingPathComponent("weights")) == Data(hash.utf8))
      try await Task.sleep(for: .milliseconds(20))
    }

    #expect(compiled.all == ["a", "b", "c", "b"])  // b was used longest ago when c came
    cache.forget(sha256: "b")
    _ = try await url("b")
    #expect(compiled.all.count == 5)
    await #expect(throws: EdgekitError.self) {
      _ = try await cache.url(sha256: "z") { throw EdgekitError("no", hint: "") }
    }
  }
}

@Suite("Autorun")
struct AutorunTests {
  @Test func itRunsOnlyWhenAskedAndRefusesWhatCannotBeMeant() throws {
    #expect(try Autorun(environment: [:]) == nil)
    #expect(try Autorun(environment: ["EDGEKIT_AUTORUN": "0"]) == nil)
    let asked = try #require(
      try Autorun(environment: [
        "EDGEKIT_AUTORUN": "1", "EDGEKIT_CALLS": "7", "EDGEKIT_UNIT": "cpu",
      ]))
    #expect(asked.calls == 7 && asked.warmup == 5 && asked.unit == .cpu)
    for wrong in [["EDGEKIT_CALLS": "many"], ["EDGEKIT_CALLS": "0"], ["EDGEKIT_UNIT": "tpu"]] {
      let error = caught {
        _ = try Autorun(environment: wrong.merging(["EDGEKIT_AUTORUN": "1"]) { a, _ in a })
      }
      #expect(error != nil)
    }
  }

  @Test func eachLineIsAnObjectAndTheLastOneHasTheVerdict() async throws {
    let bundle = try TestBundle().opened()
    let run = try #require(
      try Autorun(environment: [
        "EDGEKIT_AUTORUN": "1", "EDGEKIT_CALLS": "10", "EDGEKIT_WARMUP": "2",
      ]))
    let lines = Lines()

    let passed = await run.run(
      bundles: [bundle], loader: TestLoader(), system: 17, device: device()
    ) { lines.add($0) }

    #expect(passed)
    let objects = try lines.all.map {
      try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
    let events = objects.compactMap { $0["event"] as? String }
    #expect(
      events == ["start", "loaded", "warm", "warm"] + [String](repeating: "run", count: 10) + [
        "end"
      ])
    #expect(objects.last?["golden_passes"] as? Bool == true)
    #expect(objects[0]["sha256"] as? String == bundle.manifest.models[0].sha256)
  }

  @Test func aFileThatFailsIsAnErrorLineAndAFailure() async throws {
    let bundle = try TestBundle().opened()
    let run = try #require(try Autorun(environment: ["EDGEKIT_AUTORUN": "1"]))
    var loader = TestLoader()
    loader.failsOn = Set(ComputeUnit.allCases)
    let lines = Lines()

    let passed = await run.run(bundles: [bundle], loader: loader, system: 17) { lines.add($0) }

    #expect(!passed)
    #expect(lines.all.last?.contains("runs on no unit of this device") == true)
    #expect(await run.run(bundles: [], loader: loader, system: 17) { _ in } == false)
  }
}
