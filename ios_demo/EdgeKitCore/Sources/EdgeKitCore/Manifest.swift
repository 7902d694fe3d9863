import Foundation

/// A file of a bundle whose bytes are known beforehand.
public protocol ListedFile: Sendable {
  var path: String { get }
  var sha256: String { get }
}

/// How to fill or read one buffer of a model.
public struct ModelPort: Decodable, Sendable, Equatable {
  public let name: String
  public let shape: [Int]
  public let dtype: String
  public let layout: Layout
  /// Value that stands for black.
  public let low: Double
  /// Value that stands for white.
  public let high: Double

  public enum Layout: String, Decodable, Sendable { case nchw, nhwc, flat, image }

  public init(
    name: String, shape: [Int], dtype: String = "float32", layout: Layout = .nchw,
    low: Double = -1, high: Double = 1
  ) {
    (self.name, self.shape, self.dtype, self.layout) = (name, shape, dtype, layout)
    (self.low, self.high) = (low, high)
  }

  private enum Key: String, CodingKey { case name, shape, dtype, layout, low, high }

  /// What a port leaves out is what an export writes most often.
  public init(from decoder: any Decoder) throws {
    let row = try decoder.container(keyedBy: Key.self)
    self.init(
      name: try row.decode(String.self, forKey: .name),
      shape: try row.decode([Int].self, forKey: .shape),
      dtype: try row.decodeIfPresent(String.self, forKey: .dtype) ?? "float32",
      layout: try row.decode(Layout.self, forKey: .layout),
      low: try row.decodeIfPresent(Double.self, forKey: .low) ?? -1,
      high: try row.decodeIfPresent(Double.self, forKey: .high) ?? 1)
  }

  /// Height and width, if the port holds one RGB picture.
  public var pictureSize: Size? {
    guard shape.count == 4, shape[0] == 1 else { return nil }
    switch layout {
    case .nchw where shape[1] == 3: return Size(height: shape[2], width: shape[3])
    case .nhwc where shape[3] == 3, .image where shape[3] == 3:
      return Size(height: shape[1], width: shape[2])
    default: return nil
    }
  }

  /// Whether the runtime takes a picture object (bytes) in place of numbers.
  public var isImage: Bool { dtype == "image" || layout == .image }
}

public struct Size: Sendable, Equatable, Hashable {
  public let height: Int
  public let width: Int

  public init(height: Int, width: Int) { (self.height, self.width) = (height, width) }
}

/// One model file of a bundle.
public struct ModelEntry: Decodable, Sendable, Equatable, ListedFile, Identifiable {
  public let path: String
  public let sha256: String
  public let format: String
  public let precision: String
  public let bytes: Int
  public let inputs: [ModelPort]
  public let outputs: [ModelPort]
  /// Oldest system that reads the file, for example "iOS 16".
  public let minimumOS: String?

  public var id: String { path }

  /// What a list of files shows.
  public var label: String { "\(format) \(precision), \(decimals(Double(bytes) / 1e6, 2)) MB" }

  private enum Key: String, CodingKey {
    case path, sha256, format, precision, bytes, inputs, outputs
    case minimumOS = "minimum_os"
  }

  public init(from decoder: any Decoder) throws {
    let row = try decoder.container(keyedBy: Key.self)
    path = try row.decode(String.self, forKey: .path)
    sha256 = try row.decode(String.self, forKey: .sha256)
    format = try row.decode(String.self, forKey: .format)
    precision = try row.decode(String.self, forKey: .precision)
    bytes = try row.decodeIfPresent(Int.self, forKey: .bytes) ?? 0
    inputs = try row.decodeIfPresent([ModelPort].self, forKey: .inputs) ?? []
    outputs = try row.decodeIfPresent([ModelPort].self, forKey: .outputs) ?? []
    minimumOS = try row.decodeIfPresent(String.self, forKey: .minimumOS)
  }

  /// Major version of the oldest iOS that reads the file; 0 if any does.
  public var minimumMajor: Int {
    let digits = (minimumOS ?? "").drop { !$0.isNumber }.prefix { $0.isNumber }
    return Int(digits) ?? 0
  }
}

/// Input and output vectors that every runtime checks itself against.
public struct GoldenEntry: Decodable, Sendable, Equatable, ListedFile {
  public let path: String
  public let sha256: String
  public let samples: Int
}

/// One concept of a base: a file that is loaded into the adapter input.
public struct ConceptEntry: Decodable, Sendable, Equatable, ListedFile, Identifiable {
  public let name: String
  public let prompt: String
  public let path: String
  public let sha256: String

  public var id: String { name }
}

/// Another file that a model needs, such as a table of words.
public struct AssetEntry: Decodable, Sendable, Equatable, ListedFile {
  public let name: String
  public let path: String
  public let sha256: String
}

/// A whole bundle in the folder `path` of another one.
public struct PartEntry: Decodable, Sendable, Equatable {
  public let name: String
  public let path: String
  public let form: String
  /// Of the manifest in its folder.
  public let sha256: String
}

/// One run of values of the adapter input, and where in a concept's file they stand.
public struct BlockEntry: Decodable, Sendable, Equatable {
  public let name: String
  public let part: Part
  /// Group of layers whose rank counts; empty if none does.
  public let group: String
  public let offset: Int
  public let rows: Int
  public let most: Int
  public let columns: Int

  public enum Part: String, Decodable, Sendable, CaseIterable { case norms, factors, text }
}

/// The second input of a base: how to fill it from the file of a concept.
public struct AdapterEntry: Decodable, Sendable, Equatable {
  public let port: String
  public let length: Int
  public let baseSHA256: String
  public let layoutSHA256: String
  public let capacity: [String: Int]
  public let blocks: [BlockEntry]

  private enum CodingKeys: String, CodingKey {
    case port, length, capacity, blocks
    case baseSHA256 = "base_sha256"
    case layoutSHA256 = "layout_sha256"
  }
}

/// The bundle's manifest, as Python wrote it: checked before anything in it is used.
public struct Manifest: Decodable, Sendable, Equatable {
  public let name: String
  public let prompt: String
  public let models: [ModelEntry]
  public let golden: GoldenEntry
  public let adapterInput: AdapterEntry?
  public let concepts: [ConceptEntry]
  /// What the model is for: "concept", "base", "restorer", "mesh" and others.
  public let form: String
  /// Bundles inside this one that it works with.
  public let parts: [PartEntry]
  public let assets: [AssetEntry]

  private enum Key: String, CodingKey {
    case name, prompt, models, golden, concepts, form, parts, assets
    case adapterInput = "adapter_input"
  }

  public init(from decoder: any Decoder) throws {
    let row = try decoder.container(keyedBy: Key.self)
    name = try row.decode(String.self, forKey: .name)
    prompt = try row.decodeIfPresent(String.self, forKey: .prompt) ?? ""
    models = try row.decode([ModelEntry].self, forKey: .models)
    golden = try row.decode(GoldenEntry.self, forKey: .golden)
    adapterInput = try row.decodeIfPresent(AdapterEntry.self, forKey: .adapterInput)
    concepts = try row.decodeIfPresent([ConceptEntry].self, forKey: .concepts) ?? []
    form =
      try row.decodeIfPresent(String.self, forKey: .form)
      ?? (adapterInput == nil ? "concept" : "base")
    parts = try row.decodeIfPresent([PartEntry].self, forKey: .parts) ?? []
    assets = try row.decodeIfPresent([AssetEntry].self, forKey: .assets) ?? []
  }

  /// What a screen calls the bundle.
  public var title: String {
    if adapterInput != nil { return "One base, many concepts" }
    if isPortrait { return "Restore faces" }
    return prompt.isEmpty ? name : prompt
  }
}
