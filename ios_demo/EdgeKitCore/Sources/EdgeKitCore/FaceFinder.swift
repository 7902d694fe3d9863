import Foundation

/// A face of a photo, in the photo's pixels.
public struct Face: Sendable, Equatable {
  /// Right eye, left eye, nose, right and left corner of the mouth, as seen from left to right.
  public let five: [Point]
  /// Confidence of the mesh net that this is a face, 0 to 1.
  public let score: Double
  /// Side of the face's box.
  public let side: Double
  /// Degrees that it is turned to a side.
  public let yaw: Double
  /// Mean of its landmarks.
  let middle: Point
}

/// The three nets that find faces: BlazeFace for near and for far faces proposes, the mesh net
/// places the points.
public enum FaceNet: String, Sendable, CaseIterable {
  case near = "face_detection_short_range"
  case far = "face_detection_full_range"
  case mesh = "face_landmark"

  /// Side of the picture that it takes, 1 x side x side x 3.
  var side: Int { self == .near ? 128 : 192 }

  /// Values of its longer and of its shorter output.
  public var outputs: (long: Int, short: Int) {
    switch self {
    case .near: (896 * 16, 896)
    case .far: (2304 * 16, 2304)
    case .mesh: (468 * 3, 1)
    }
  }

  /// Centres, as shares of the side, that a detector's outputs are relative to.
  var anchors: [Point] {
    let layers = self == .far ? [(48, 1)] : [(16, 2), (8, 6)]
    return layers.flatMap { cells, repeats in
      (0..<cells * cells * repeats).map { i in
        let cell = i / repeats
        return Point(
          (Double(cell % cells) + 0.5) / Double(cells), (Double(cell / cells) + 0.5) / Double(cells)
        )
      }
    }
  }
}

/// Runs a net; gives its longer and its shorter output.
public typealias RunFaceNet =
  @Sendable (FaceNet, [Float]) async throws -> (long: [Float], short: [Float])

/// Finds faces as Python does (distill/faces/detect.py), to the same points.
public struct FaceFinder: Sendable {
  private let run: RunFaceNet
  /// Boxes that share more of their union are one face.
  private static let overlap = 0.3
  /// Side of what the mesh net sees, in sides of the face's box.
  private static let room = 1.5
  private static let leastScore = 0.5

  public init(run: @escaping RunFaceNet) { self.run = run }

  /// The faces of a photo, the largest first.
  public func faces(in photo: Photo) async throws -> [Face] {
    var found: [Face] = []
    for box in try await boxes(photo) {
      try Task.checkCancellation()
      let face = try await meshed(photo, box)
      if face.score >= Self.leastScore { found.append(face) }
    }
    var distinct: [Face] = []
    for face in found.sortedStably(by: { $0.side > $1.side })
    where distinct.allSatisfy({ (face.middle - $0.middle).length > 0.4 * $0.side }) {
      distinct.append(face)
    }
    return distinct
  }

  private struct Box {
    let logit: Float
    let low, high: Point
    let eyes: [Point]

    var side: Double { max(high.x - low.x, high.y - low.y) }
    private var area: Double { (high.x - low.x) * (high.y - low.y) }

    func overlap(_ other: Box) -> Double {
      let x = max(min(high.x, other.high.x) - max(low.x, other.low.x), 0)
      let y = max(min(high.y, other.high.y) - max(low.y, other.low.y), 0)
      return x * y / max(area + other.area - x * y, 1e-6)
    }
  }

  private func boxes(_ photo: Photo) async throws -> [Box] {
    let found =
      try await candidates(photo, .near, border: 0)
      + (try await candidates(photo, .near, border: 0.5))
      + (try await candidates(photo, .far, border: 0))
    var kept: [Box] = []
    for box in found.sortedStably(by: { $0.logit > $1.logit })
    where kept.allSatisfy({ box.overlap($0) < Self.overlap }) {
      kept.append(box)
    }
    return kept
  }

  /// What one net proposes. `border` is the empty room left around the photo, in its longer sides: a
  /// face that fills the photo is found only with room around it.
  private func candidates(_ photo: Photo, _ net: FaceNet, border: Double) async throws -> [Box] {
    let px = net.side
    let side = Double(max(photo.width, photo.height)) * (1 + border)
    let scale = Double(px) / side
    let offset = Point((side - Double(photo.width)) / 2, (side - Double(photo.height)) / 2)
    let matrix = Affine(scale, 0, offset.x * scale, 0, scale, offset.y * scale)
    var input = photo.cutOut(matrix, side: px).bytes.map { Float($0) / 127.5 - 1 }
    for y in 0..<px {
      for x in 0..<px {
        let at = Point((Double(x) + 0.5) / scale, (Double(y) + 0.5) / scale)
        if at.x < offset.x || at.x > side - offset.x || at.y < offset.y || at.y > side - offset.y {
          for k in 0..<3 { input[(y * px + x) * 3 + k] = -1 }
        }
      }
    }
    let (values, logits) = try await run(net, input)
    let anchors = net.anchors
    return logits.indices.filter { logits[$0] > 0 }.map { i in
      func point(_ n: Int) -> Point {
        let share = Point(
          Double(values[16 * i + 2 * n] / Float(px)), Double(values[16 * i + 2 * n + 1] / Float(px))
        )
        return (share + anchors[i]) * side - offset
      }
      let half = Point(
        Double(values[16 * i + 2] / Float(px) * Float(side) / 2),
        Double(values[16 * i + 3] / Float(px) * Float(side) / 2))
      let center = point(0)
      return Box(
        logit: logits[i], low: center - half, high: center + half,
        eyes: [point(2).single, point(3).single])
    }
  }

  /// Place the mesh on a face. The net looks twice: the second time where its own first points say
  /// that the face is, and also at the mirror image; the mean of both is taken.
  private func meshed(_ photo: Photo, _ box: Box) async throws -> Face {
    let px = FaceMesh.side
    var (eyes, side) = (box.eyes, box.side)
    var along = direction(eyes)
    var center = Point.mean(eyes) + Point(-along.y, along.x) * side * 0.18
    var face: Face?
    for look in 0..<2 {
      along = direction(eyes)
      let scale = Double(px) / (side * Self.room)
      let (a, b) = (along.x * scale, along.y * scale)
      let middle = Double(px) / 2
      let matrix = Affine(
        a, b, middle - (a * center.x + b * center.y), -b, a, middle - (-b * center.x + a * center.y)
      )
      let back = matrix.inverse
      let seen = photo.cutOut(matrix, side: px)
      let mesh = try await looked(seen)
      var (dense, yaw) = (mesh.dense, mesh.yaw)
      if look == 1 {
        let other = try await looked(seen.upright(orientation: 2))
        dense = mesh.averaged(withMirrored: other)
        yaw = (yaw - other.yaw) / 2
      }
      let there = dense.map { back($0).single }
      eyes = FaceMesh.eyes(of: there)
      let span = Point(
        Double(Float(mesh.high.x) - Float(mesh.low.x)),
        Double(Float(mesh.high.y) - Float(mesh.low.y))
      )
      side = max(span.x, span.y) / scale
      center = back(((mesh.low + mesh.high).single / 2).single).single
      face = Face(
        five: FaceMesh.five(of: there), score: mesh.score, side: side, yaw: yaw,
        middle: Point.mean(there))
    }
    return face!
  }

  private func looked(_ seen: Photo) async throws -> FaceMesh {
    let (values, logit) = try await run(.mesh, seen.bytes.map { Float($0) / 255 })
    return FaceMesh(values, logit: logit[0])
  }

  private func direction(_ eyes: [Point]) -> Point {
    let across = (eyes[1] - eyes[0]).single
    return across / max(across.length, 1e-6)
  }
}

extension Array {
  /// Sorted so that what compares equal keeps its order.
  func sortedStably(by comesFirst: (Element, Element) -> Bool) -> [Element] {
    enumerated().sorted { one, two in
      if comesFirst(one.element, two.element) { return true }
      return !comesFirst(two.element, one.element) && one.offset < two.offset
    }.map(\.element)
  }
}
