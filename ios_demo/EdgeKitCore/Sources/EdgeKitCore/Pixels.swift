import Foundation

/// A photo without alpha, upright, sRGB: 3 bytes a pixel, row by row.
public struct Photo: Sendable, Equatable {
  public let size: Size
  public var bytes: [UInt8]

  public var width: Int { size.width }
  public var height: Int { size.height }

  /// `bytes` holds height x width x 3 values.
  public init(size: Size, bytes: [UInt8]) {
    precondition(bytes.count == size.height * size.width * 3, "3 bytes a pixel")
    (self.size, self.bytes) = (size, bytes)
  }

  /// Lay RGBA pixels (not premultiplied) over white and drop their alpha.
  public init(size: Size, rgba: [UInt8]) {
    let count = size.height * size.width
    precondition(rgba.count == count * 4, "4 bytes a pixel")
    var bytes = [UInt8](repeating: 255, count: count * 3)
    for i in 0..<count {
      let alpha = Int(rgba[4 * i + 3])
      for k in 0..<3 {
        let laid = Int(rgba[4 * i + k]) * alpha + 255 * (255 - alpha)
        bytes[3 * i + k] = UInt8((laid + 127) / 255)
      }
    }
    self.init(size: size, bytes: bytes)
  }

  /// The rectangle that begins at `top`, `left`.
  public func cut(top: Int, left: Int, size: Size) -> Photo {
    var cut = [UInt8]()
    cut.reserveCapacity(size.height * size.width * 3)
    for y in 0..<size.height {
      let start = ((top + y) * width + left) * 3
      cut += bytes[start..<start + size.width * 3]
    }
    return Photo(size: size, bytes: cut)
  }

  /// The photo turned as its EXIF orientation (1 to 8) says; any other number leaves it as it is.
  public func upright(orientation: Int) -> Photo {
    guard (2...8).contains(orientation) else { return self }
    let swapped = orientation >= 5
    let size = swapped ? Size(height: width, width: height) : self.size
    var turned = [UInt8](repeating: 0, count: bytes.count)
    for y in 0..<size.height {
      for x in 0..<size.width {
        let (fromY, fromX) =
          switch orientation {
          case 2: (y, width - 1 - x)
          case 3: (height - 1 - y, width - 1 - x)
          case 4: (height - 1 - y, x)
          case 5: (x, y)
          case 6: (height - 1 - x, y)
          case 7: (height - 1 - x, width - 1 - y)
          default: (x, width - 1 - y)
          }
        let (from, to) = ((fromY * width + fromX) * 3, (y * size.width + x) * 3)
        for k in 0..<3 { turned[to + k] = bytes[from + k] }
      }
    }
    return Photo(size: size, bytes: turned)
  }

  /// Scale by the mean of the area that each new pixel covers; for shrinking camera frames.
  public func shrunk(to size: Size) -> Photo {
    precondition(size.height <= height && size.width <= width, "only down")
    if size == self.size { return self }
    let columns = spans(from: width, to: size.width)
    let rows = spans(from: height, to: size.height)
    var made = [UInt8](repeating: 0, count: size.height * size.width * 3)
    bytes.withUnsafeBufferPointer { source in
      for (y, rowSpan) in rows.enumerated() {
        for (x, columnSpan) in columns.enumerated() {
          var (r, g, b) = (0, 0, 0)
          for v in rowSpan {
            for u in columnSpan {
              let at = (v * width + u) * 3
              r += Int(source[at])
              g += Int(source[at + 1])
              b += Int(source[at + 2])
            }
          }
          let count = rowSpan.count * columnSpan.count
          let at = (y * size.width + x) * 3
          made[at] = UInt8((r + count / 2) / count)
          made[at + 1] = UInt8((g + count / 2) / count)
          made[at + 2] = UInt8((b + count / 2) / count)
        }
      }
    }
    return Photo(size: size, bytes: made)
  }

  private func spans(from: Int, to: Int) -> [Range<Int>] {
    (0..<to).map { i in i * from / to..<max((i + 1) * from / to, i * from / to + 1) }
  }

  /// The largest square in the middle.
  public var middleSquare: Photo {
    let side = min(width, height)
    return cut(
      top: (height - side) / 2, left: (width - side) / 2, size: Size(height: side, width: side))
  }
}

/// Round half to even, as Python does.
func rounded(_ value: Double) -> Int { Int(value.rounded(.toNearestOrEven)) }

extension Size {
  /// Scaled down so that the longer side has at most `longest` pixels (nil: as it is); never up.
  public func limited(to longest: Int?) -> Size {
    guard let longest, longest < max(height, width) else { return self }
    let factor = Double(longest) / Double(max(height, width))
    return Size(
      height: max(1, rounded(Double(height) * factor)),
      width: max(1, rounded(Double(width) * factor)))
  }
}

/// Fill a port's buffer with a photo of exactly its size, in the port's range and layout.
public func portValues(_ photo: Photo, _ port: ModelPort) -> [Float] {
  let count = photo.width * photo.height
  let scale = Float((port.high - port.low) / 255)
  let low = Float(port.low)
  let planar = port.layout == .nchw
  return [Float](unsafeUninitializedCapacity: count * 3) { values, used in
    photo.bytes.withUnsafeBufferPointer { bytes in
      if planar {
        for k in 0..<3 {
          for i in 0..<count { values[k * count + i] = Float(bytes[3 * i + k]) * scale + low }
        }
      } else {
        for i in 0..<count * 3 { values[i] = Float(bytes[i]) * scale + low }
      }
    }
    used = count * 3
  }
}

/// Return what a picture port gave as levels, row by row, 0 for black and 255 for white.
public func levels(_ values: [Float], _ port: ModelPort) -> [Float] {
  let count = values.count / 3
  let scale = Float(255 / (port.high - port.low))
  let low = Float(port.low)
  let planar = port.layout == .nchw
  return [Float](unsafeUninitializedCapacity: count * 3) { made, used in
    values.withUnsafeBufferPointer { values in
      if planar {
        for i in 0..<count {
          for k in 0..<3 { made[3 * i + k] = (values[k * count + i] - low) * scale }
        }
      } else {
        for i in 0..<count * 3 { made[i] = (values[i] - low) * scale }
      }
    }
    used = count * 3
  }
}

/// Round a level to a byte: half to even, clipped; what is no number becomes black, as in Python.
@inline(__always)
public func byte(_ level: Float) -> UInt8 {
  guard level > 0 else { return 0 }
  return level >= 255 ? 255 : UInt8(level.rounded(.toNearestOrEven))
}
