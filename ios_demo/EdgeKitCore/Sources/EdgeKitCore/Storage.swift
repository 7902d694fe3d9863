import Foundation

/// Measurements of earlier days and the one that others are compared with: one JSON file.
public struct BenchmarkHistory: Codable, Sendable, Equatable {
  public private(set) var rows: [BenchmarkRow] = []
  public private(set) var baseline: UUID?

  /// Rows that are kept; the oldest that is not the baseline goes first.
  public static let most = 100

  public init() {}

  public mutating func add(_ row: BenchmarkRow) {
    rows.append(row)
    while rows.count > Self.most, let oldest = rows.firstIndex(where: { $0.id != baseline }) {
      rows.remove(at: oldest)
    }
  }

  /// Compare later rows with `id`; nil ends that.
  public mutating func setBaseline(_ id: UUID?) {
    baseline = rows.contains { $0.id == id } ? id : nil
  }

  public mutating func clear() { self = BenchmarkHistory() }

  /// `row` against the baseline; nil if there is none, or if it is `row` itself.
  public func comparison(_ row: BenchmarkRow) -> Comparison? {
    guard row.id != baseline, let base = rows.first(where: { $0.id == baseline }) else {
      return nil
    }
    return Comparison(row, to: base)
  }

  /// Read the history; a file that is missing or damaged is an empty one, and a damaged file is
  /// kept beside it under another name.
  public static func read(_ file: URL) -> BenchmarkHistory {
    guard let data = try? Data(contentsOf: file) else { return BenchmarkHistory() }
    let decoder = JSONDecoder()
    decoder.dateDecodingStrategy = .iso8601
    if let history = try? decoder.decode(BenchmarkHistory.self, from: data) { return history }
    let aside = file.appendingPathExtension("damaged")
    try? FileManager.default.removeItem(at: aside)
    try? FileManager.default.moveItem(at: file, to: aside)
    return BenchmarkHistory()
  }

  public func write(_ file: URL) throws {
    try FileManager.default.createDirectory(
      at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
    try encoder(pretty: false).encode(self).write(to: file, options: .atomic)
  }
}

/// Compiled models by the sha256 of what they were compiled from: compiling takes seconds, once.
public struct CompiledCache: Sendable {
  public let folder: URL
  /// Models that are kept; what was used longest ago goes first.
  public let most: Int

  public init(folder: URL, most: Int = 6) { (self.folder, self.most) = (folder, most) }

  /// Return the compiled form of the model with this hash; `compile` writes it anywhere.
  public func url(sha256: String, compile: () async throws -> URL) async throws -> URL {
    let place = folder.appendingPathComponent("\(sha256).mlmodelc")
    let files = FileManager.default
    if files.fileExists(atPath: place.path) {
      try? files.setAttributes([.modificationDate: Date()], ofItemAtPath: place.path)
      return place
    }
    try files.createDirectory(at: folder, withIntermediateDirectories: true)
    let made = try await compile()
    // Renamed into place at once: a killed app leaves no half of a model under this name.
    let beside = folder.appendingPathComponent(".\(UUID().uuidString)")
    try files.moveItem(at: made, to: beside)
    do {
      try files.moveItem(at: beside, to: place)
    } catch {
      try? files.removeItem(at: beside)
      guard files.fileExists(atPath: place.path) else { throw error }  // another task was first
    }
    prune(keeping: place)
    return place
  }

  /// Forget the compiled form, for example because it does not load after a system update.
  public func forget(sha256: String) {
    try? FileManager.default.removeItem(at: folder.appendingPathComponent("\(sha256).mlmodelc"))
  }

  private func prune(keeping place: URL) {
    let files = FileManager.default
    let names = (try? files.contentsOfDirectory(atPath: folder.path)) ?? []
    let held = names.filter { $0.hasSuffix(".mlmodelc") }.map(folder.appendingPathComponent)
    func used(_ url: URL) -> Date {
      let facts = try? files.attributesOfItem(atPath: url.path)
      return facts?[.modificationDate] as? Date ?? .distantPast
    }
    let old = held.filter { $0.lastPathComponent != place.lastPathComponent }
      .sorted { used($0) > used($1) }
    for url in old.dropFirst(most - 1) { try? files.removeItem(at: url) }
  }
}
