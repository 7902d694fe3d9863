import Foundation

/// The schema that this app reads; a newer one is refused, not guessed.
public let schemaVersion = 1

extension Manifest {
  /// Read a manifest and refuse what this app must not use: something else, a newer schema, a path
  /// that leads out of the bundle, a missing hash or field, text that was changed after it was
  /// written.
  public static func checked(_ data: Data) throws -> Manifest {
    let again = "export the bundle again"
    guard let value = try? JSONSerialization.jsonObject(with: data) as? [String: Any],
      value["kind"] as? String == "bundle"
    else {
      throw EdgekitError(
        "this is not the manifest of a bundle", hint: "export it with `edgekit export`")
    }
    guard let version = value["schema_version"] as? Int, version == schemaVersion else {
      let told = value["schema_version"].map { "\($0)" } ?? "missing"
      throw EdgekitError(
        "the bundle's schema is version \(told), this app knows \(schemaVersion)",
        hint: "update the app, or export the bundle with the app's version of edgekit")
    }
    guard let models = value["models"] as? [[String: Any]],
      let golden = value["golden"] as? [String: Any]
    else { throw EdgekitError("the manifest lists no models", hint: again) }
    let more = ["concepts", "adapters", "assets", "parts"].flatMap {
      value[$0] as? [[String: Any]] ?? []
    }
    for file in models + more + [golden] {
      let path = file["path"] as? String ?? ""
      guard isSafe(path) else {
        throw EdgekitError("the manifest names an unsafe path: \(path)", hint: again)
      }
      guard let sha256 = file["sha256"] as? String, isSHA256(sha256) else {
        throw EdgekitError("\(path) has no sha256", hint: again)
      }
    }
    if let seal = value["manifest_sha256"] as? String,
      try CanonicalJSON.sha256(data, without: "manifest_sha256") != seal
    {
      throw EdgekitError(
        "the manifest was changed after it was written", hint: "copy the whole bundle again")
    }
    do {
      return try JSONDecoder().decode(Manifest.self, from: data)
    } catch let error as DecodingError {
      throw EdgekitError("the manifest cannot be used: \(words(of: error))", hint: again)
    }
  }

  /// What bundles of other forms do, in words.
  private static let purposes = [
    "mesh": "makes meshes of words",
    "enroller": "is a part of a restorer",
    "identity": "makes codes of faces",
    "field": "is a part of a mesh generator",
    "face_net": "is a part of a portrait bundle",
  ]

  /// Whether the bundle restores faces; any other that is shown edits photos.
  public var isPortrait: Bool { form == "restorer" }

  /// Throw, in words, if no screen of this app can show the bundle.
  func checkIsShown() throws {
    if isPortrait { return try checkRestoresAlone() }
    guard !["concept", "base", "other"].contains(form) else { return }
    let what = Self.purposes[form] ?? "is of the form \(form)"
    throw EdgekitError(
      "\(name) \(what), and this app edits photos and restores faces",
      hint: "open it in the web demo: edgekit app --target web")
  }

  private func checkRestoresAlone() throws {
    let asked = models.flatMap(\.inputs).map(\.name).first { $0 != "image" }
    if let asked {
      let what = asked == "code" ? "a code of the person" : "good photos of the person"
      throw EdgekitError(
        "\(name) asks for \(what), and this app restores without",
        hint: "open it in the web demo, or distill one with --form none")
    }
    let missing = FaceNet.allCases.first { net in !parts.contains { $0.name == net.rawValue } }
    if let missing {
      throw EdgekitError(
        "\(name) lacks the net \(missing.rawValue) that finds faces",
        hint: "put the bundle in with `edgekit app --target ios`")
    }
  }

  private static func words(of error: DecodingError) -> String {
    func place(_ path: [any CodingKey]) -> String {
      path.map { $0.intValue.map(String.init) ?? $0.stringValue }.joined(separator: ".")
    }
    switch error {
    case .keyNotFound(let key, let context):
      return "\(place(context.codingPath + [key])) is missing"
    case .valueNotFound(_, let context), .typeMismatch(_, let context),
      .dataCorrupted(let context):
      return "\(place(context.codingPath)) is of another type"
    @unknown default:
      return "it is damaged"
    }
  }
}

/// Tell whether a path stays in the bundle and is spelt as every file system accepts it.
public func isSafe(_ path: String) -> Bool {
  let segments = path.split(separator: "/", omittingEmptySubsequences: false)
  return !segments.isEmpty
    && segments.allSatisfy { segment in
      guard let first = segment.utf8.first, first != UInt8(ascii: ".") else { return false }
      return segment.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "-"),
          UInt8(ascii: "."):
          return true
        default:
          return false
        }
      }
    }
}

func isSHA256(_ text: String) -> Bool {
  text.utf8.count == 64
    && text.utf8.allSatisfy { byte in
      (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }
}
