import Foundation

/// The hash that seals a manifest: of its JSON value with sorted keys, no spaces, UTF-8.
///
/// Numbers keep the digits that they were written with: reading 1e-05 as a Double and writing it
/// again would be another language's spelling, and another hash.
enum CanonicalJSON {
  /// Return the sha256 of a JSON object without the field `name`.
  static func sha256(_ data: Data, without name: String) throws -> String {
    var reader = Reader(bytes: Array(data))
    guard case .object(var fields) = try reader.value(), reader.atEnd() else {
      throw Reader.damaged
    }
    fields[name] = nil
    var text: [UInt8] = []
    write(.object(fields), to: &text)
    return edgekitSHA256(Data(text))
  }

  indirect enum Value {
    case literal([UInt8])
    case string(String)
    case array([Value])
    case object([String: Value])
  }

  private static func write(_ value: Value, to text: inout [UInt8]) {
    switch value {
    case .literal(let bytes): text += bytes
    case .string(let string): write(string, to: &text)
    case .array(let items):
      text.append(UInt8(ascii: "["))
      for (index, item) in items.enumerated() {
        if index > 0 { text.append(UInt8(ascii: ",")) }
        write(item, to: &text)
      }
      text.append(UInt8(ascii: "]"))
    case .object(let fields):
      text.append(UInt8(ascii: "{"))
      // By code points, as Python sorts; Swift's own order of strings is another.
      let keys = fields.keys.sorted {
        $0.unicodeScalars.lexicographicallyPrecedes($1.unicodeScalars)
      }
      for (index, key) in keys.enumerated() {
        if index > 0 { text.append(UInt8(ascii: ",")) }
        write(key, to: &text)
        text.append(UInt8(ascii: ":"))
        if let field = fields[key] { write(field, to: &text) }
      }
      text.append(UInt8(ascii: "}"))
    }
  }

  private static func write(_ string: String, to text: inout [UInt8]) {
    let short: [UInt8: String] = [
      8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: "\\\"", 92: "\\\\",
    ]
    text.append(34)
    for byte in string.utf8 {
      if let escape = short[byte] {
        text += escape.utf8
      } else if byte < 32 {
        let digits = String(byte, radix: 16)
        text += ("\\u" + String(repeating: "0", count: 4 - digits.count) + digits).utf8
      } else {
        text.append(byte)
      }
    }
    text.append(34)
  }

  /// Reads JSON that Foundation has accepted already, so that what is left to check is little.
  struct Reader {
    static let damaged = EdgekitError(
      "the manifest is damaged", hint: "copy the whole bundle again")

    let bytes: [UInt8]
    var at = 0

    init(bytes: [UInt8]) { self.bytes = bytes }

    mutating func atEnd() -> Bool {
      skipSpace()
      return at == bytes.count
    }

    mutating func value() throws -> Value {
      switch try peek() {
      case UInt8(ascii: "{"): return try object()
      case UInt8(ascii: "["): return try array()
      case UInt8(ascii: "\""): return .string(try string())
      default:
        let start = at
        while at < bytes.count, !",]} \t\r\n".utf8.contains(bytes[at]) { at += 1 }
        guard at > start else { throw Self.damaged }
        return .literal(Array(bytes[start..<at]))
      }
    }

    private mutating func object() throws -> Value {
      var fields: [String: Value] = [:]
      try expect("{")
      while try peek() != UInt8(ascii: "}") {
        if !fields.isEmpty { try expect(",") }
        _ = try peek()
        let key = try string()
        try expect(":")
        // A second field of one name would let two readers see two manifests.
        guard fields.updateValue(try value(), forKey: key) == nil else { throw Self.damaged }
      }
      try expect("}")
      return .object(fields)
    }

    private mutating func array() throws -> Value {
      var items: [Value] = []
      try expect("[")
      while try peek() != UInt8(ascii: "]") {
        if !items.isEmpty { try expect(",") }
        items.append(try value())
      }
      try expect("]")
      return .array(items)
    }

    private mutating func string() throws -> String {
      let start = at
      guard at < bytes.count, bytes[at] == UInt8(ascii: "\"") else { throw Self.damaged }
      at += 1
      while at < bytes.count, bytes[at] != UInt8(ascii: "\"") {
        at += bytes[at] == UInt8(ascii: "\\") ? 2 : 1
      }
      guard at < bytes.count else { throw Self.damaged }
      at += 1
      let quoted = Data(bytes[start..<at])
      let read = try JSONSerialization.jsonObject(with: quoted, options: .fragmentsAllowed)
      guard let text = read as? String else { throw Self.damaged }
      return text
    }

    private mutating func skipSpace() {
      while at < bytes.count, " \t\r\n".utf8.contains(bytes[at]) { at += 1 }
    }

    private mutating func peek() throws -> UInt8 {
      skipSpace()
      guard at < bytes.count else { throw Self.damaged }
      return bytes[at]
    }

    private mutating func expect(_ character: Unicode.Scalar) throws {
      guard try peek() == UInt8(ascii: character) else { throw Self.damaged }
      at += 1
    }
  }
}
