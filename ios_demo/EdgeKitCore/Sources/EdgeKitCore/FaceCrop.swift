import Foundation

/// The square of a photo that holds one face upright, and the way there.
public struct FaceCrop: Sendable, Equatable {
  public let photo: Photo
  /// From pixels of the photo to pixels of the crop.
  public let matrix: Affine
  /// Side of the square in the photo's pixels.
  public let native: Double

  /// A square photo whose own points ask for this much of a change, of its side, stays as it is.
  private static let ready = 0.03

  /// Cut a face out of its photo. `five` are right eye, left eye, nose, right and left corner of the
  /// mouth, as seen from left to right.
  public init(_ whole: Photo, five: [Point], side: Int) {
    let square = FaceSquare(five)
    native = square.width
    if whole.width == whole.height, square.isNearly(whole.width, within: Self.ready) {
      let scale = Double(side) / Double(whole.width)
      matrix = Affine(scale, 0, 0, 0, scale, 0).single
      photo = whole.resized(to: Size(height: side, width: side))
    } else {
      matrix = square.matrix(side: side)
      photo = whole.cutOut(matrix, side: side)
    }
  }

  /// Share of the crop that lies outside a photo of this size.
  public func shareOutside(_ size: Size) -> Double {
    let back = matrix.inverse
    let side = Double(photo.width)
    var inside = 0
    for j in 0..<32 {
      for i in 0..<32 {
        let place = back(Point((Double(i) + 0.5) * side / 32, (Double(j) + 0.5) * side / 32))
        let isThere =
          place.x >= 0 && place.y >= 0 && place.x < Double(size.width)
          && place.y < Double(size.height)
        inside += isThere ? 1 : 0
      }
    }
    return 1 - Double(inside) / 1024
  }
}

/// The square around a face, turned with it: four distances of the eyes wide, or 3.6 times the way
/// from eyes to mouth for a face seen from the side. In float32, as Python computes it.
struct FaceSquare {
  private typealias Pair = SIMD2<Float>

  private let corner, right, below: Pair

  init(_ five: [Point]) {
    let points = five.map { Pair(Float($0.x), Float($0.y)) }
    let eyes = (points[0] + points[1]) / 2
    let mouth = (points[3] + points[4]) / 2
    let (across, down) = (points[1] - points[0], mouth - eyes)
    let axis = across + Pair(down.y, -down.x)
    let half = max(2 * Self.length(across), 1.8 * Self.length(down))
    let x = axis / Float(max(Self.length(axis), 1e-6)) * Float(half)
    let y = Pair(-x.y, x.x)
    let center = eyes + 0.1 * down
    (corner, right, below) = (center - x - y, center + x - y, center - x + y)
  }

  private static func length(_ pair: Pair) -> Double { Double(hypot(pair.x, pair.y)) }

  var width: Double { Self.length(right - corner) }

  /// Whether it is a whole photo of this side, but for a share of it.
  func isNearly(_ side: Int, within share: Double) -> Bool {
    let whole = Float(side)
    let off = [corner, right - Pair(whole, 0), below - Pair(0, whole)]
    let most = off.map { max(abs($0.x), abs($0.y)) }.max()!
    return Double(most) < share * Double(side)
  }

  /// From pixels of the photo to pixels of a crop of `side` pixels.
  func matrix(side: Int) -> Affine {
    func wide(_ pair: Pair) -> Point { Point(Double(pair.x), Double(pair.y)) }
    let (start, size) = (wide(corner), Double(side))
    let (x, y) = ((wide(right) - start) / size, (wide(below) - start) / size)
    return Affine(x.x, y.x, start.x, x.y, y.y, start.y).inverse.single
  }
}
