import Foundation

/// A bundle on disk that edits photos or restores faces: its manifest is checked at once, each file
/// when it is first used.
public struct BundleFolder: Sendable {
  public let url: URL
  public let manifest: Manifest

  public init(at url: URL) throws {
    try self.init(unchecked: url)
    try manifest.checkIsShown()
  }

  /// Open a bundle of any form, such as a part.
  private init(unchecked url: URL) throws {
    let file = url.appendingPathComponent("manifest.json")
    guard let data = try? Data(contentsOf: file) else {
      throw EdgekitError(
        "\(url.lastPathComponent) is not a bundle: it has no manifest.json",
        hint: "put one in with `edgekit app --target ios`")
    }
    self.url = url
    manifest = try Manifest.checked(data)
  }

  /// Open the bundle inside this one that is called `name`.
  public func part(named name: String) throws -> BundleFolder {
    let again = "put the bundle in with `edgekit app --target ios`"
    guard let row = manifest.parts.first(where: { $0.name == name }) else {
      throw EdgekitError("\(manifest.name) has no part \(name)", hint: again)
    }
    let place = url.appendingPathComponent(row.path)
    guard try edgekitSHA256(at: place.appendingPathComponent("manifest.json")) == row.sha256 else {
      throw EdgekitError("\(row.path) is not the part that was put in", hint: again)
    }
    return try BundleFolder(unchecked: place)
  }

  /// All bundles in a folder, by name. A folder that is none is left out and told to `refused`.
  public static func all(
    in folder: URL, refused: (String, any Error) -> Void = { _, _ in }
  ) -> [BundleFolder] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    return names.sorted().compactMap { name in
      let place = folder.appendingPathComponent(name)
      var isFolder: ObjCBool = false
      guard !name.hasPrefix("."),
        FileManager.default.fileExists(atPath: place.path, isDirectory: &isFolder),
        isFolder.boolValue
      else { return nil }
      do {
        return try BundleFolder(at: place)
      } catch {
        refused(name, error)
        return nil
      }
    }
  }

  /// Return where a listed file lies; throws if it is missing or not the one that was exported.
  public func checked(_ file: some ListedFile) throws -> URL {
    let place = url.appendingPathComponent(file.path)
    guard FileManager.default.fileExists(atPath: place.path) else {
      throw EdgekitError("\(file.path) is missing", hint: "copy the whole bundle again")
    }
    guard try edgekitSHA256(at: place) == file.sha256 else {
      throw EdgekitError(
        "\(file.path) is not the file that was exported", hint: "copy the bundle again")
    }
    return place
  }

  /// Return the bytes of a listed file; errors as `checked`.
  public func data(_ file: some ListedFile) throws -> Data {
    try Data(contentsOf: try checked(file))
  }

  /// Return the concept called `name`.
  public func concept(named name: String) throws -> Concept {
    guard let row = manifest.concepts.first(where: { $0.name == name }) else {
      throw EdgekitError("the base holds no concept \(name)", hint: "choose one of the list")
    }
    return try Concept(try data(row), name: row.name)
  }
}

/// What an iPhone runs, the preferred first.
private let preference: [(format: String, precision: String)] = [
  ("mlpackage", "mixed"), ("mlpackage", "int8"), ("mlpackage", "fp16"),
  ("aimodel", "mixed"), ("aimodel", "int8"), ("aimodel", "fp16"),
  ("mlpackage", "fp32"), ("aimodel", "fp32"),
]

extension Manifest {
  /// The models that a system of this major version runs with one of `formats`, best first.
  public func runnable(formats: Set<String>, system: Int) -> [ModelEntry] {
    func rank(_ entry: ModelEntry) -> Int {
      preference.firstIndex { $0.format == entry.format && $0.precision == entry.precision }
        ?? preference.count
    }
    return models.filter { formats.contains($0.format) && $0.minimumMajor <= system }
      .enumerated().sorted { (rank($0.element), $0.offset) < (rank($1.element), $1.offset) }
      .map(\.element)
  }
}

extension [ModelPort] {
  /// The port of the one picture that a model takes or gives; `adapter` names a port beside it.
  public func picture(besides adapter: String? = nil) throws -> ModelPort {
    let pictures = filter { $0.name != adapter && $0.pictureSize != nil }
    guard pictures.count == 1, let only = pictures.first else {
      let shown = map { "\($0.name) \($0.shape)" }.joined(separator: ", ")
      throw EdgekitError(
        "this model is not from one photo to one photo: \(shown)",
        hint: "open a bundle of a picture editor")
    }
    return only
  }
}
