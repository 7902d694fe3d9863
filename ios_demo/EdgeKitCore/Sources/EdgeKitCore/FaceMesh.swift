import Foundation

/// What the mesh net says of one look at a face, in pixels of what it saw.
struct FaceMesh {
  static let side = 192

  /// 68 landmarks.
  let dense: [Point]
  let score: Double
  /// Degrees that the face is turned to a side.
  let yaw: Double
  let low, high: Point

  /// `values` are 468 points with depth, `logit` how surely it is a face.
  init(_ values: [Float], logit: Float) {
    func point(_ i: Int) -> Point { Point(Double(values[3 * i]), Double(values[3 * i + 1])) }
    dense = Self.landmarks.map { some in Point.mean(some.map(point)) }
    score = 1 / (1 + exp(-Double(min(max(logit, -30), 30))))
    let (one, two) = ([454, 356], [234, 127])
    func middle(_ some: [Int], _ k: Int) -> Float {
      some.reduce(Float(0)) { $0 + values[3 * $1 + k] } / Float(some.count)
    }
    let across = Double(middle(one, 0) - middle(two, 0))
    let depth = Double(middle(one, 2) - middle(two, 2))
    yaw = atan2(depth, across) * 180 / Double.pi
    let all = (0..<468).map(point)
    low = Point(all.map(\.x).min()!, all.map(\.y).min()!)
    high = Point(all.map(\.x).max()!, all.map(\.y).max()!)
  }

  /// The mean of this look's landmarks and those of a look at the mirror image.
  func averaged(withMirrored other: FaceMesh) -> [Point] {
    zip(dense, Self.mirrored).map { point, index in
      let flipped = other.dense[index]
      let back = Point(Double(Float(Self.side) - Float(flipped.x)), flipped.y)
      return Point(
        Double((Float(point.x) + Float(back.x)) / 2), Double((Float(point.y) + Float(back.y)) / 2))
    }
  }

  /// Centres of the eyes, nose, corners of the mouth, of 68 landmarks.
  static func five(of dense: [Point]) -> [Point] {
    eyes(of: dense) + [dense[30], dense[48], dense[54]]
  }

  static func eyes(of dense: [Point]) -> [Point] {
    [Point.mean(Array(dense[36..<42])), Point.mean(Array(dense[42..<48]))]
  }

  /// Points of the mesh whose mean is each of the 68 landmarks.
  private static let landmarks: [[Int]] = [
    [127], [234], [93], [132, 58], [58, 172], [136], [150], [176], [152],
    [400], [379], [365], [288, 397], [361, 288], [323], [454], [356],
    [70], [63], [105], [66], [107], [336], [296], [334], [293], [300],
    [6, 168], [195, 197], [5], [4], [75], [97], [2], [326], [305],
    [33], [160], [158], [133], [153], [144],
    [362], [385], [387], [263], [373], [380],
    [61], [39], [37], [0], [267], [269], [291], [321], [314], [17], [84], [91],
    [78], [82], [13], [312], [308], [317], [14], [87],
  ]

  /// Which landmark takes the place of each in a mirrored picture.
  private static let mirrored: [Int] = [
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0,
    26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
  ]
}
