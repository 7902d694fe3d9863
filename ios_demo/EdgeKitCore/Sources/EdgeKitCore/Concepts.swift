import Foundation

/// What one concept changes in a base, and which base it belongs to.
public struct Concept: Sendable, Equatable {
  public let prompt: String
  public let ranks: [String: Int]
  public let baseSHA256: String
  public let layoutSHA256: String
  public let values: [BlockEntry.Part: [Float]]

  static let format = "edgekit.concept.1"
  static let mostHeaderBytes = 1 << 16

  /// Read the file of a concept: safetensors with three flat tensors (norms, factors, text).
  public init(_ data: Data, name: String) throws {
    do {
      self = try Self.read([UInt8](data))
    } catch {
      throw EdgekitError(
        "\(name) is not a concept of edgekit: \((error as? EdgekitError)?.what ?? "its header cannot be read")",
        hint: "write it with `edgekit adapters add BASE RUN`, or copy it again")
    }
  }

  private init(
    prompt: String, ranks: [String: Int], base: String, layout: String,
    values: [BlockEntry.Part: [Float]]
  ) {
    (self.prompt, self.ranks, self.values) = (prompt, ranks, values)
    (baseSHA256, layoutSHA256) = (base, layout)
  }

  private struct Tensor: Decodable {
    let dtype: String
    let shape: [Int]
    let dataOffsets: [Int]

    private enum CodingKeys: String, CodingKey {
      case dtype, shape
      case dataOffsets = "data_offsets"
    }
  }

  private struct Header: Decodable {
    let metadata: [String: String]
    let norms: Tensor
    let factors: Tensor
    let text: Tensor

    private enum CodingKeys: String, CodingKey {
      case metadata = "__metadata__"
      case norms, factors, text
    }
  }

  private static func read(_ bytes: [UInt8]) throws -> Concept {
    func refused(_ why: String) -> EdgekitError { EdgekitError(why, hint: "") }
    guard bytes.count >= 8 else { throw refused("it is cut short") }
    let length = (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[$1]) << (8 * UInt64($1)) }
    guard length <= UInt64(min(mostHeaderBytes, bytes.count - 8)) else {
      throw refused("its header is longer than the file or than any concept's")
    }
    let start = 8 + Int(length)
    let header = try JSONDecoder().decode(Header.self, from: Data(bytes[8..<start]))
    let facts = header.metadata
    guard facts["format"] == format else {
      throw refused("its format is \(facts["format"] ?? "not told")")
    }
    guard let prompt = facts["prompt"], let base = facts["base_sha256"],
      let layout = facts["layout_sha256"], let ranks = facts["ranks"]
    else { throw refused("its header lacks a field") }
    return Concept(
      prompt: prompt, ranks: try JSONDecoder().decode([String: Int].self, from: Data(ranks.utf8)),
      base: base, layout: layout,
      values: [
        .norms: try part(bytes, start, header.norms, "F32", "norms"),
        .factors: try part(bytes, start, header.factors, "F16", "factors"),
        .text: try part(bytes, start, header.text, "F16", "text"),
      ])
  }

  private static func part(
    _ bytes: [UInt8], _ data: Int, _ tensor: Tensor, _ dtype: String, _ name: String
  ) throws -> [Float] {
    let width = dtype == "F32" ? 4 : 2
    let cut = EdgekitError("its part '\(name)' is cut short or of another type", hint: "")
    guard tensor.dtype == dtype, tensor.dataOffsets.count == 2,
      tensor.shape.allSatisfy({ (0...bytes.count).contains($0) }),
      let begin = tensor.dataOffsets.first, let end = tensor.dataOffsets.last,
      0 <= begin, begin <= end, end <= bytes.count - data
    else { throw cut }
    let (size, overflow) = tensor.shape.reduce((1, false)) { found, side in
      let (product, over) = found.0.multipliedReportingOverflow(by: side)
      return (product, found.1 || over)
    }
    guard !overflow, (end - begin) / width == size, (end - begin) % width == 0 else { throw cut }
    let values = (0..<size).map { i -> Float in
      let at = data + begin + i * width
      let low = UInt16(bytes[at]) | UInt16(bytes[at + 1]) << 8
      if width == 2 { return widened(half: low) }
      let high = UInt16(bytes[at + 2]) | UInt16(bytes[at + 3]) << 8
      return Float(bitPattern: UInt32(high) << 16 | UInt32(low))
    }
    guard values.allSatisfy(\.isFinite) else {
      throw EdgekitError("its part '\(name)' holds values that are not finite", hint: "")
    }
    return values
  }
}

/// Widen an IEEE half-precision number. (Swift's Float16 is missing on Intel Macs.)
public func widened(half bits: UInt16) -> Float {
  let sign: Float = bits & 0x8000 == 0 ? 1 : -1
  let exponent = Int(bits >> 10) & 0x1f
  let fraction = Float(bits & 0x3ff)
  switch exponent {
  case 0: return sign * Float(sign: .plus, exponent: -24, significand: fraction)
  case 31: return fraction == 0 ? sign * .infinity : .nan
  default: return sign * Float(sign: .plus, exponent: exponent - 25, significand: 1024 + fraction)
  }
}

extension BlockEntry {
  /// How many of the block's rows the file of a concept with these ranks holds.
  func rowsHeld(_ ranks: [String: Int]) -> Int {
    group.isEmpty ? rows : min(ranks[group] ?? 0, most)
  }
}

extension AdapterEntry {
  /// Throw unless `concept` can be loaded into this base.
  public func check(_ concept: Concept, name: String) throws {
    if concept.baseSHA256 != baseSHA256 {
      throw EdgekitError(
        "\(name) belongs to base \(concept.baseSHA256.prefix(12)), this one is \(baseSHA256.prefix(12))",
        hint: "use the base that it was trained on, or distil the concept again")
    }
    if concept.layoutSHA256 != layoutSHA256 {
      throw EdgekitError(
        "\(name) has its values in another order than this base",
        hint: "add the concept again from its run")
    }
    for (group, rank) in concept.ranks.sorted(by: { $0.key < $1.key })
    where rank > capacity[group] ?? 0 {
      throw EdgekitError(
        "\(name) has rank \(rank) in \(group), this base has room for \(capacity[group] ?? 0)",
        hint: "export the base with a larger --capacity")
    }
    for part in BlockEntry.Part.allCases {
      let expected = blocks.filter { $0.part == part }.reduce(0) {
        $0 + $1.rowsHeld(concept.ranks) * $1.columns
      }
      let held = concept.values[part]?.count ?? 0
      if held != expected {
        throw EdgekitError(
          "\(name) holds \(held) values of \(part.rawValue), expected \(expected)",
          hint: "add the concept again from its run")
      }
    }
  }

  /// The adapter input of one concept: zeros where its rank is below the base's capacity.
  public func vector(_ concept: Concept, name: String) throws -> [Float] {
    try check(concept, name: name)
    return try filled(held(concept))
  }

  /// Block name -> the concept's values of it.
  func held(_ concept: Concept) -> [String: ArraySlice<Float>] {
    var at: [BlockEntry.Part: Int] = [:]
    var found: [String: ArraySlice<Float>] = [:]
    for block in blocks {
      let (start, size) = (
        at[block.part, default: 0], block.rowsHeld(concept.ranks) * block.columns
      )
      found[block.name] = concept.values[block.part, default: []][start..<start + size]
      at[block.part] = start + size
    }
    return found
  }

  func filled(_ values: [String: ArraySlice<Float>]) throws -> [Float] {
    var vector = [Float](repeating: 0, count: length)
    for block in blocks {
      let own = values[block.name] ?? []
      guard block.offset >= 0, block.offset + own.count <= length else {
        throw EdgekitError(
          "the manifest's block \(block.name) lies outside of the adapter input",
          hint: "export the bundle again")
      }
      vector.replaceSubrange(block.offset..<block.offset + own.count, with: own)
    }
    return vector
  }
}
