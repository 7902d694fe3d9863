import Foundation

/// An array as numpy stores it: float32, row by row.
public struct NumpyArray: Sendable, Equatable {
  public let shape: [Int]
  public let values: [Float]
}

/// Read the arrays of an uncompressed .npz file of float32: the golden vectors of a bundle.
public func numpyArchive(_ data: Data) throws -> [String: NumpyArray] {
  let reader = Bytes(values: [UInt8](data))
  guard let directory = reader.lastIndex(of: 0x0605_4b50) else { throw Bytes.cutShort }
  let count = try reader.number(directory + 10, 2)
  var at = try reader.number(directory + 16, 4)
  var found: [String: NumpyArray] = [:]
  for _ in 0..<count {
    let nameLength = try reader.number(at + 28, 2)
    let header = try reader.number(at + 42, 4)
    let name = String(decoding: try reader.slice(at + 46, nameLength), as: UTF8.self)
    guard try reader.number(at + 10, 2) == 0 else {
      throw EdgekitError("\(name) is compressed", hint: "export the bundle again")
    }
    let start =
      header + 30 + (try reader.number(header + 26, 2)) + (try reader.number(header + 28, 2))
    found[name.hasSuffix(".npy") ? String(name.dropLast(4)) : name] = try array(reader, start, name)
    at += 46 + nameLength + (try reader.number(at + 30, 2)) + (try reader.number(at + 32, 2))
  }
  return found
}

private func array(_ reader: Bytes, _ start: Int, _ name: String) throws -> NumpyArray {
  let wide = try reader.number(start + 6, 1) > 1
  let text = start + (wide ? 12 : 10)
  let length = try reader.number(start + 8, wide ? 4 : 2)
  let header = String(decoding: try reader.slice(text, length), as: UTF8.self)
  guard header.contains("'<f4'"), !header.contains("'fortran_order': True"),
    let open = header.range(of: "'shape': ("),
    let close = header[open.upperBound...].firstIndex(of: ")")
  else {
    throw EdgekitError(
      "\(name) does not hold float32 in row order", hint: "export the bundle again")
  }
  let shape = header[open.upperBound..<close].split(separator: ",").compactMap {
    Int($0.trimmingCharacters(in: .whitespaces))
  }
  var size = 1
  for side in shape {
    let (product, over) = size.multipliedReportingOverflow(by: side)
    guard !over, product >= 0, product <= reader.values.count else { throw Bytes.cutShort }
    size = product
  }
  let bytes = try reader.slice(text + length, size * 4)
  let values = (0..<size).map { i -> Float in
    let at = bytes.startIndex + 4 * i
    let word = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[at + $1]) << (8 * UInt32($1)) }
    return Float(bitPattern: word)
  }
  return NumpyArray(shape: shape, values: values)
}

private struct Bytes {
  static let cutShort = EdgekitError(
    "the golden vectors are cut short", hint: "copy the bundle again")

  let values: [UInt8]

  func slice(_ start: Int, _ count: Int) throws -> ArraySlice<UInt8> {
    guard start >= 0, count >= 0, start <= values.count, count <= values.count - start else {
      throw Self.cutShort
    }
    return values[start..<start + count]
  }

  /// A little-endian number of `count` bytes.
  func number(_ start: Int, _ count: Int) throws -> Int {
    try slice(start, count).reversed().reduce(0) { $0 << 8 | Int($1) }
  }

  func lastIndex(of mark: Int) -> Int? {
    stride(from: values.count - 22, through: 0, by: -1).first { (try? number($0, 4)) == mark }
  }
}
