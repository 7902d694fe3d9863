import EdgeKitCore
import EdgeKitStudio
import Foundation

/// What tests call:
///
///     edgekit-linux autorun BUNDLES                 as the app does when EDGEKIT_AUTORUN asks for it
///     edgekit-linux edit BUNDLE FILE IN W H OUT [CONCEPT=WEIGHT ...]
///                                                   raw RGB bytes in and out, through the studio's editor
///     edgekit-linux portrait BUNDLES IN W H OUT     what the studio shows when that photo is chosen
///     edgekit-linux faces BUNDLE FILE W H           the faces that it finds, largest first
///     edgekit-linux screens BUNDLES OUT             what the app's screens would show, as files
@main
struct Main {
  static func main() async {
    do {
      try await run(Array(CommandLine.arguments.dropFirst()))
    } catch {
      FileHandle.standardError.write(Data("edgekit-linux: \(sentence(of: error))\n".utf8))
      exit(4)
    }
  }

  private static func run(_ words: [String]) async throws {
    switch words.first {
    case "autorun" where words.count == 2:
      guard let run = try Autorun(environment: ProcessInfo.processInfo.environment) else {
        throw EdgekitError("EDGEKIT_AUTORUN is not set", hint: "set it to 1")
      }
      let bundles = BundleFolder.all(in: URL(fileURLWithPath: words[1]))
      let passed = await run.run(bundles: bundles, loader: LiteRTLoader(), system: 99) { print($0) }
      exit(passed ? 0 : 1)
    case "screens" where words.count == 3:
      try await screens(URL(fileURLWithPath: words[1]), URL(fileURLWithPath: words[2]))
    case "edit" where words.count >= 7:
      try await edit(words)
    case "portrait" where words.count == 6:
      try await portrait(words)
    case "faces" where words.count == 5:
      try await faces(words)
    default:
      throw EdgekitError("unknown words", hint: "see Main.swift")
    }
  }

  private static func edit(_ words: [String]) async throws {
    let bundle = try BundleFolder(at: URL(fileURLWithPath: words[1]))
    guard let entry = bundle.manifest.models.first(where: { $0.path == words[2] }),
      let width = Int(words[4]), let height = Int(words[5])
    else { throw EdgekitError("no such file or size", hint: "see the manifest") }
    let photo = try photo(at: words[3], Size(height: height, width: width))
    let editor = try await Editor(bundle, entry, on: .all, by: LiteRTLoader())
    let weights = words.dropFirst(7).compactMap { word -> (name: String, weight: Double)? in
      let parts = word.split(separator: "=")
      guard parts.count == 2, let weight = Double(parts[1]) else { return nil }
      return (String(parts[0]), weight)
    }
    var lost = 0.0
    if !weights.isEmpty { lost = try await editor.use(weights) }
    let made = try await editor.edit(photo)
    try Data(made.photo.bytes).write(to: URL(fileURLWithPath: words[6]))
    let facts: [String: Any] = [
      "tiles": made.latency.tiles, "pre_ms": made.latency.pre, "model_ms": made.latency.model,
      "post_ms": made.latency.post, "lost": lost,
    ]
    try tell(facts)
  }

  private static func photo(at path: String, _ size: Size) throws -> Photo {
    Photo(size: size, bytes: [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))))
  }

  private static func tell(_ value: Any) throws {
    let line = try JSONSerialization.data(withJSONObject: value, options: .sortedKeys)
    print(String(decoding: line, as: UTF8.self))
  }

  /// Choose a photo as a person would; what is written is what the screen then shows.
  @MainActor
  private static func portrait(_ words: [String]) async throws {
    guard let width = Int(words[3]), let height = Int(words[4]) else {
      throw EdgekitError("no such size", hint: "give pixels")
    }
    let studio = Studio(loader: LiteRTLoader(), system: 99)
    await studio.start(bundlesIn: URL(fileURLWithPath: words[1]))
    let photo = try photo(at: words[2], Size(height: height, width: width))
    await studio.show(photo)
    if let after = studio.after { try Data(after.bytes).write(to: URL(fileURLWithPath: words[5])) }
    let (status, isError) = (studio.status, studio.statusIsError)
    await studio.check()
    try tell(
      [
        "status": status, "check": studio.checkLine, "error": isError,
        "latency": studio.latencyLine,
        "restored": studio.portrait?.restored ?? 0, "notes": studio.portrait?.notes ?? [],
        "find_ms": studio.portrait?.findMs ?? 0, "title": studio.title,
      ] as [String: Any])
  }

  private static func faces(_ words: [String]) async throws {
    guard let width = Int(words[3]), let height = Int(words[4]) else {
      throw EdgekitError("no such size", hint: "give pixels")
    }
    let bundle = try BundleFolder(at: URL(fileURLWithPath: words[1]))
    let nets = try await FaceNets(of: bundle, by: LiteRTLoader(), system: 99)
    let photo = try photo(at: words[2], Size(height: height, width: width))
    let found = try await nets.finder.faces(in: photo).map { face -> [String: Any] in
      [
        "five": face.five.flatMap { [$0.x, $0.y] }, "score": face.score, "side": face.side,
        "yaw": face.yaw,
      ]
    }
    try tell(found)
  }

  /// Use the studio as a person would, and write down what it shows.
  @MainActor
  private static func screens(_ bundles: URL, _ out: URL) async throws {
    let studio = Studio(loader: LiteRTLoader(), system: 99)
    await studio.start(bundlesIn: bundles)
    await studio.show(SampleScene.lake.photo())
    guard let before = studio.before, let after = studio.after else {
      throw EdgekitError(studio.status, hint: "")
    }
    let latency = studio.latencyLine
    await studio.measure(calls: 100)
    if let first = studio.history.rows.first { await studio.toggleBaseline(first.id) }
    await studio.measure(calls: 100)
    await studio.check()
    let rows = studio.history.rows.reversed().map { row -> [String: Any] in
      [
        "file": row.file, "line": row.line, "warnings": row.warnings,
        "facts": "\(row.unit.label), \(row.summary.calls) calls",
        "comparison": studio.history.comparison(row)?.sentence ?? "",
        "baseline": row.id == studio.history.baseline,
      ]
    }
    let entry = studio.models.first { $0.path == studio.modelPath }
    let facts: [String: Any] = [
      "title": studio.title, "width": before.width, "height": before.height,
      "latency": latency, "engine": studio.engineLine, "status": studio.status,
      "file": entry?.label ?? "", "path": studio.modelPath, "unit": studio.unit.label,
      "concept": studio.concepts.first { $0.name == studio.firstConcept }?.prompt ?? "",
      "check": studio.checkLine, "rows": rows,
    ]
    try Data(before.bytes).write(to: out.appendingPathComponent("before.rgb"))
    try Data(after.bytes).write(to: out.appendingPathComponent("after.rgb"))
    try JSONSerialization.data(withJSONObject: facts, options: [.sortedKeys, .prettyPrinted])
      .write(to: out.appendingPathComponent("screens.json"))
  }
}
