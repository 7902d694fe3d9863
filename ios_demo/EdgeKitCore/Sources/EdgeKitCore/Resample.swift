import Foundation

/// Photos made smaller or larger, and squares cut out of them at any angle: to the byte what Pillow
/// makes of them, because Python trains and tests with that. Source: Pillow's Resample.c, Geometry.c.
extension Photo {
  /// Resample with a Lanczos filter, antialiased when shrinking.
  public func resized(to size: Size) -> Photo {
    var made = self
    if size.width != width { made = made.resampledAcross(to: size.width) }
    if size.height != height { made = made.resampledDown(to: size.height) }
    return made
  }

  /// Cut out the square of `side` pixels that `matrix` (photo to square) maps to. Beyond its border
  /// the photo is mirrored; it is first reduced, so that a small cut of a large photo does not alias.
  public func cutOut(_ matrix: Affine, side: Int) -> Photo {
    let back = matrix.inverse
    let length = Double(side)
    let ends = [Point(0, 0), Point(length, 0), Point(0, length), Point(length, length)].map {
      back($0)
    }
    let left = Int(ends.map(\.x).min()!.rounded(.down)) - 2
    let top = Int(ends.map(\.y).min()!.rounded(.down)) - 2
    let right = Int(ends.map(\.x).max()!.rounded(.up)) + 2
    let bottom = Int(ends.map(\.y).max()!.rounded(.up)) + 2
    let region = mirrored(left: left, top: top, right: right, bottom: bottom)
    let scale = min(1, 1 / hypot(back.a, back.d))
    let small = Size(
      height: max(2, rounded(Double(region.height) * scale)),
      width: max(2, rounded(Double(region.width) * scale)))
    let across = Double(small.width) / Double(region.width)
    let down = Double(small.height) / Double(region.height)
    let shifted = Affine(
      back.a * across, back.b * across, (back.c - Double(left)) * across,
      back.d * down, back.e * down, (back.f - Double(top)) * down)
    return region.resized(to: small).turned(by: shifted, side: side)
  }

  /// A rectangle of the photo continued by its mirror images, the border's pixels shown twice.
  private func mirrored(left: Int, top: Int, right: Int, bottom: Int) -> Photo {
    func place(_ i: Int, _ length: Int) -> Int {
      let turn = ((i % (2 * length)) + 2 * length) % (2 * length)
      return turn < length ? turn : 2 * length - 1 - turn
    }
    let columns = (left..<right).map { place($0, width) * 3 }
    let size = Size(height: bottom - top, width: right - left)
    let made = [UInt8](unsafeUninitializedCapacity: size.height * size.width * 3) { made, used in
      bytes.withUnsafeBufferPointer { bytes in
        var to = 0
        for y in top..<bottom {
          let row = place(y, height) * width * 3
          for column in columns {
            made[to] = bytes[row + column]
            made[to + 1] = bytes[row + column + 1]
            made[to + 2] = bytes[row + column + 2]
            to += 3
          }
        }
      }
      used = size.height * size.width * 3
    }
    return Photo(size: size, bytes: made)
  }

  private func resampledAcross(to count: Int) -> Photo {
    let taps = Taps(from: width, to: count)
    let size = Size(height: height, width: count)
    let stride = width * 3
    let made = [UInt8](unsafeUninitializedCapacity: height * count * 3) { made, used in
      bytes.withUnsafeBufferPointer { bytes in
        for y in 0..<height {
          for x in 0..<count {
            let start = y * stride + taps.starts[x] * 3
            taps.sum(bytes, x, start, step: 3, into: made, at: (y * count + x) * 3)
          }
        }
      }
      used = height * count * 3
    }
    return Photo(size: size, bytes: made)
  }

  private func resampledDown(to count: Int) -> Photo {
    let taps = Taps(from: height, to: count)
    let size = Size(height: count, width: width)
    let stride = width * 3
    let made = [UInt8](unsafeUninitializedCapacity: width * count * 3) { made, used in
      bytes.withUnsafeBufferPointer { bytes in
        for y in 0..<count {
          for x in 0..<width {
            let start = taps.starts[y] * stride + x * 3
            taps.sum(bytes, y, start, step: stride, into: made, at: y * stride + x * 3)
          }
        }
      }
      used = width * count * 3
    }
    return Photo(size: size, bytes: made)
  }

  /// The square whose pixels `back` finds in this photo, by cubic interpolation; black outside.
  private func turned(by back: Affine, side: Int) -> Photo {
    var made = [UInt8](repeating: 0, count: side * side * 3)
    bytes.withUnsafeBufferPointer { bytes in
      for row in 0..<side {
        for column in 0..<side {
          let place = back(Point(Double(column) + 0.5, Double(row) + 0.5))
          guard place.x >= 0, place.y >= 0, place.x < Double(width), place.y < Double(height)
          else { continue }
          cubic(bytes, place.x - 0.5, place.y - 0.5, into: &made, at: (row * side + column) * 3)
        }
      }
    }
    return Photo(size: Size(height: side, width: side), bytes: made)
  }

  @inline(__always)
  private func cubic(
    _ bytes: UnsafeBufferPointer<UInt8>, _ u: Double, _ v: Double, into made: inout [UInt8],
    at place: Int
  ) {
    let (x, y) = (u.rounded(.down), v.rounded(.down))
    let (dx, dy) = (u - x, v - y)
    let (left, top) = (Int(x) - 1, Int(y) - 1)
    func held(_ i: Int, _ length: Int) -> Int { min(max(i, 0), length - 1) }
    let x0 = held(left, width) * 3
    let x1 = held(left + 1, width) * 3
    let x2 = held(left + 2, width) * 3
    let x3 = held(left + 3, width) * 3
    for k in 0..<3 {
      func along(_ i: Int) -> Double {
        let row = held(i, height) * width * 3 + k
        return blended(
          Double(bytes[row + x0]), Double(bytes[row + x1]), Double(bytes[row + x2]),
          Double(bytes[row + x3]), dx)
      }
      let level = blended(along(top), along(top + 1), along(top + 2), along(top + 3), dy)
      made[place + k] = level <= 0 ? 0 : level >= 255 ? 255 : UInt8(level)
    }
  }
}

/// Pillow's cubic interpolation between `two` and `three`.
@inline(__always)
private func blended(
  _ one: Double, _ two: Double, _ three: Double, _ four: Double, _ d: Double
) -> Double {
  let p2 = -one + three
  let p3 = 2 * (one - two) + three - four
  let p4 = -one + two - three + four
  return two + d * (p2 + d * (p3 + d * p4))
}

/// Which pixels of a row each new one is made of, and how much of each, in whole numbers.
private struct Taps {
  private static let bits = 22
  private(set) var starts: [Int] = []
  private var counts: [Int] = []
  private var weights: [Int] = []
  private let most: Int

  init(from: Int, to: Int) {
    let scale = Double(from) / Double(to)
    let spread = max(scale, 1)
    let support = 3 * spread
    most = Int(support.rounded(.up)) * 2 + 1
    for i in 0..<to {
      let center = (Double(i) + 0.5) * scale
      let first = max(0, Int(center - support + 0.5))
      let count = min(from, Int(center + support + 0.5)) - first
      var row = (0..<count).map { lanczos((Double($0 + first) - center + 0.5) / spread) }
      let total = row.reduce(0, +)
      if total != 0 { row = row.map { $0 / total } }
      starts.append(first)
      counts.append(count)
      let one = Double(1 << Self.bits)
      weights += row.map { $0 < 0 ? Int(-0.5 + $0 * one) : Int(0.5 + $0 * one) }
      weights += [Int](repeating: 0, count: most - count)
    }
  }

  @inline(__always)
  func sum(
    _ bytes: UnsafeBufferPointer<UInt8>, _ index: Int, _ start: Int, step: Int,
    into made: UnsafeMutableBufferPointer<UInt8>, at place: Int
  ) {
    let half = 1 << (Self.bits - 1)
    var (r, g, b, from) = (half, half, half, start)
    weights.withUnsafeBufferPointer { weights in
      for i in index * most..<index * most + counts[index] {
        let weight = weights[i]
        r += Int(bytes[from]) * weight
        g += Int(bytes[from + 1]) * weight
        b += Int(bytes[from + 2]) * weight
        from += step
      }
    }
    made[place] = UInt8(clamping: r >> Self.bits)
    made[place + 1] = UInt8(clamping: g >> Self.bits)
    made[place + 2] = UInt8(clamping: b >> Self.bits)
  }
}

private func lanczos(_ x: Double) -> Double {
  func sinc(_ x: Double) -> Double { x == 0 ? 1 : sin(x * Double.pi) / (x * Double.pi) }
  return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0
}
