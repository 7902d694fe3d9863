import Foundation

#if canImport(CryptoKit)
  import CryptoKit

  /// The sha256 of bytes as hexadecimal text.
  public func edgekitSHA256(_ data: Data) -> String {
    hexadecimal(SHA256.hash(data: data))
  }
#else
  /// The sha256 of bytes as hexadecimal text (FIPS 180-4), for systems without CryptoKit.
  public func edgekitSHA256(_ data: Data) -> String {
    var state: [UInt32] = [
      0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab,
      0x5be0_cd19,
    ]
    var message = [UInt8](data)
    let bits = UInt64(message.count) * 8
    message.append(0x80)
    message += [UInt8](repeating: 0, count: (120 - message.count % 64) % 64)
    message += (0..<8).map { UInt8(truncatingIfNeeded: bits >> (56 - 8 * UInt64($0))) }
    var words = [UInt32](repeating: 0, count: 64)
    message.withUnsafeBufferPointer { bytes in
      for start in stride(from: 0, to: bytes.count, by: 64) {
        compress(bytes, start, &words, &state)
      }
    }
    return hexadecimal(
      state.flatMap { word in
        (0..<4).map { UInt8(truncatingIfNeeded: word >> (24 - 8 * UInt32($0))) }
      })
  }

  private func compress(
    _ bytes: UnsafeBufferPointer<UInt8>, _ start: Int, _ words: inout [UInt32],
    _ state: inout [UInt32]
  ) {
    func turned(_ value: UInt32, _ by: UInt32) -> UInt32 { (value >> by) | (value << (32 - by)) }
    for i in 0..<16 {
      let at = start + 4 * i
      words[i] =
        UInt32(bytes[at]) << 24 | UInt32(bytes[at + 1]) << 16 | UInt32(bytes[at + 2]) << 8
        | UInt32(bytes[at + 3])
    }
    for i in 16..<64 {
      let (x, y) = (words[i - 15], words[i - 2])
      let s0 = turned(x, 7) ^ turned(x, 18) ^ (x >> 3)
      let s1 = turned(y, 17) ^ turned(y, 19) ^ (y >> 10)
      words[i] = words[i - 16] &+ s0 &+ words[i - 7] &+ s1
    }
    var (a, b, c, d) = (state[0], state[1], state[2], state[3])
    var (e, f, g, h) = (state[4], state[5], state[6], state[7])
    for i in 0..<64 {
      let s1 = turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)
      let one = h &+ s1 &+ ((e & f) ^ (~e & g)) &+ constants[i] &+ words[i]
      let s0 = turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)
      let two = s0 &+ ((a & b) ^ (a & c) ^ (b & c))
      (h, g, f, e, d, c, b, a) = (g, f, e, d &+ one, c, b, a, one &+ two)
    }
    for (index, value) in [a, b, c, d, e, f, g, h].enumerated() { state[index] &+= value }
  }

  /// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
  private let constants: [UInt32] = {
    var primes: [Int] = []
    var candidate = 2
    while primes.count < 64 {
      if primes.allSatisfy({ candidate % $0 != 0 }) { primes.append(candidate) }
      candidate += 1
    }
    return primes.map(fractionOfCubeRoot)
  }()

  /// floor(2^32 * cube root of n) without its whole part, by integers: a Double is one bit short.
  private func fractionOfCubeRoot(_ n: Int) -> UInt32 {
    var (low, high) = (UInt64(0), UInt64(1) << 36)
    while high - low > 1 {
      let middle = (low + high) / 2
      // middle^3 <= n * 2^96, in two halves of 64 bits.
      let square = middle.multipliedFullWidth(by: middle)
      let lower = square.low.multipliedFullWidth(by: middle)
      let top = square.high * middle + lower.high
      if top < UInt64(n) << 32 { low = middle } else { high = middle }
    }
    return UInt32(truncatingIfNeeded: low)
  }
#endif

private func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
  let digits = Array("0123456789abcdef".utf8)
  return String(
    decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}

/// The sha256 of a file, or of a folder's files with their relative names, as the manifest has it.
public func edgekitSHA256(at url: URL) throws -> String {
  var isFolder: ObjCBool = false
  guard FileManager.default.fileExists(atPath: url.path, isDirectory: &isFolder) else {
    throw EdgekitError("\(url.lastPathComponent) is missing", hint: "copy the whole bundle again")
  }
  guard isFolder.boolValue else { return edgekitSHA256(try Data(contentsOf: url)) }
  let names = try FileManager.default.subpathsOfDirectory(atPath: url.path)
  let files = names.filter { name in
    var inner: ObjCBool = false
    let there = FileManager.default.fileExists(
      atPath: url.appendingPathComponent(name).path, isDirectory: &inner)
    return there && !inner.boolValue
  }
  var listing = Data()
  for name in files.sorted(by: comesBefore) {
    let inner = edgekitSHA256(try Data(contentsOf: url.appendingPathComponent(name)))
    listing.append(contentsOf: Array("\(name)\0\(inner)\n".utf8))
  }
  return edgekitSHA256(listing)
}

/// Paths folder by folder, so that "a/z" stands before "a.b": the order of Python's pathlib.
private func comesBefore(_ one: String, _ two: String) -> Bool {
  let (left, right) = (one.split(separator: "/"), two.split(separator: "/"))
  return left.lexicographicallyPrecedes(right) { a, b in
    a.utf8.lexicographicallyPrecedes(b.utf8)
  }
}
