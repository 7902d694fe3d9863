import Foundation

/// A place in a photo, in pixels; the centre of the first pixel is (0.5, 0.5).
public struct Point: Sendable, Equatable {
  public var x: Double
  public var y: Double

  public init(_ x: Double, _ y: Double) { (self.x, self.y) = (x, y) }

  static func + (one: Point, two: Point) -> Point { Point(one.x + two.x, one.y + two.y) }
  static func - (one: Point, two: Point) -> Point { Point(one.x - two.x, one.y - two.y) }
  static func * (one: Point, factor: Double) -> Point { Point(one.x * factor, one.y * factor) }
  static func / (one: Point, divisor: Double) -> Point { Point(one.x / divisor, one.y / divisor) }

  /// As float32 holds it: Python keeps places of landmarks so.
  var single: Point { Point(Double(Float(x)), Double(Float(y))) }

  var length: Double { hypot(x, y) }

  /// The mean of places, in float32 as numpy sums them.
  static func mean(_ points: [Point]) -> Point {
    var (x, y) = (Float(0), Float(0))
    for point in points {
      x += Float(point.x)
      y += Float(point.y)
    }
    let count = Float(points.count)
    return Point(Double(x / count), Double(y / count))
  }
}

/// Two rows of three numbers: x' = a x + b y + c and y' = d x + e y + f.
public struct Affine: Sendable, Equatable {
  public var a, b, c, d, e, f: Double

  public init(_ a: Double, _ b: Double, _ c: Double, _ d: Double, _ e: Double, _ f: Double) {
    (self.a, self.b, self.c, self.d, self.e, self.f) = (a, b, c, d, e, f)
  }

  /// Where a point comes to lie.
  public func callAsFunction(_ point: Point) -> Point {
    Point(a * point.x + b * point.y + c, d * point.x + e * point.y + f)
  }

  /// The way back, by elimination with the larger first row, as numpy solves it.
  public var inverse: Affine {
    let first = abs(a) >= abs(d)
    let (p, q, r, s) = first ? (a, b, d, e) : (d, e, a, b)
    let factor = r / p
    let last = s - factor * q
    /// The solution for a right side whose rows stand as above.
    func solved(_ top: Double, _ bottom: Double) -> (Double, Double) {
      let y = (bottom - factor * top) / last
      return ((top - q * y) / p, y)
    }
    let (i, k) = first ? (solved(1, 0), solved(0, 1)) : (solved(0, 1), solved(1, 0))
    return Affine(
      i.0, k.0, -(i.0 * c + k.0 * f), i.1, k.1, -(i.1 * c + k.1 * f))
  }

  /// As float32 holds it.
  var single: Affine {
    func narrow(_ value: Double) -> Double { Double(Float(value)) }
    return Affine(narrow(a), narrow(b), narrow(c), narrow(d), narrow(e), narrow(f))
  }
}
