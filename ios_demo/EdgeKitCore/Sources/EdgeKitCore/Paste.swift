import Foundation

/// Width of the soft edge of a pasted crop, as a share of its side.
private let feather = 0.15
/// The crop's light is compared on so many cells a side: coarser than any feature of a face.
private let cells = 4
/// Change of a face, in levels, up to which all of the photo's finer detail stays, and from which
/// on none does.
private let kept = (low: 4.0, high: 8.0)

extension Photo {
  /// A copy in which `restored` takes the place of `crop`, which `matrix` cut out: in the photo's
  /// light, with soft edges. Pixels outside the crop stay as they are, and so does what is finer than
  /// the crop where the face changes little.
  public func pasted(crop: Photo, restored: Photo, matrix: Affine) -> Photo {
    precondition(crop.size == restored.size && crop.width == crop.height, "squares of one size")
    let side = crop.width
    let length = Double(side)
    var face = inLight(of: crop, restored)
    let detail = detailKept(face, crop)
    for at in face.indices { face[at] -= detail * Double(crop.bytes[at]) }
    let back = Affine(matrix.a, matrix.b, 0, matrix.d, matrix.e, 0).inverse
    let ends = [Point(0, 0), Point(length, 0), Point(0, length), Point(length, length)].map {
      back($0 - Point(matrix.c, matrix.f))
    }
    let left = max(Int(ends.map(\.x).min()!.rounded(.down)), 0)
    let top = max(Int(ends.map(\.y).min()!.rounded(.down)), 0)
    let right = max(min(Int(ends.map(\.x).max()!.rounded(.up)), width), left)
    let bottom = max(min(Int(ends.map(\.y).max()!.rounded(.up)), height), top)
    let steps = max(1, Int(hypot(matrix.a, matrix.d).rounded(.up)))
    var made = self
    for y in top..<bottom {
      for x in left..<right {
        var seen = Seen()
        for j in 0..<steps {
          for i in 0..<steps {
            let place = matrix(
              Point(
                Double(x) + (Double(i) + 0.5) / Double(steps),
                Double(y) + (Double(j) + 0.5) / Double(steps)))
            let weight = edge(place.x / length) * edge(place.y / length)
            if weight > 0 { seen.add(face, side, place, weight) }
          }
        }
        guard seen.weight > 0 else { continue }
        let share = seen.weight / Double(steps * steps)
        let at = (y * width + x) * 3
        for k in 0..<3 {
          let sum = k == 0 ? seen.r : k == 1 ? seen.g : seen.b
          let level = Double(bytes[at + k])
          let mixed = level + share * (sum / seen.weight - (1 - detail) * level)
          made.bytes[at + k] = UInt8(min(max((mixed + 0.5).rounded(.down), 0), 255))
        }
      }
    }
    return made
  }
}

/// What a pixel of the photo sees of the face.
private struct Seen {
  var (r, g, b, weight) = (0.0, 0.0, 0.0, 0.0)

  @inline(__always)
  mutating func add(_ face: [Double], _ side: Int, _ place: Point, _ share: Double) {
    let last = Double(side - 1)
    let u = min(max(place.x - 0.5, 0), last)
    let v = min(max(place.y - 0.5, 0), last)
    let (x, y) = (min(Int(u), side - 2), min(Int(v), side - 2))
    let (a, b) = (u - Double(x), v - Double(y))
    let (above, below) = ((y * side + x) * 3, ((y + 1) * side + x) * 3)
    func level(_ k: Int) -> Double {
      let one = face[above + k] * (1 - a) + face[above + 3 + k] * a
      let two = face[below + k] * (1 - a) + face[below + 3 + k] * a
      return one * (1 - b) + two * b
    }
    r += share * level(0)
    g += share * level(1)
    self.b += share * level(2)
    weight += share
  }
}

/// 0 at the crop's edge and outside, 1 further inside than the feather, smooth between.
@inline(__always)
private func edge(_ share: Double) -> Double {
  let inside = min(max(min(share, 1 - share) / feather, 0), 1)
  return inside * inside * (3 - 2 * inside)
}

/// How much of what is finer than the crop stays, from 0 to 1: all where the face changes little.
private func detailKept(_ face: [Double], _ crop: Photo) -> Double {
  let side = crop.width
  let inner = (side / 8)..<(side - side / 8)
  var sum = 0.0
  for y in inner {
    for at in ((y * side + inner.lowerBound) * 3)..<((y * side + inner.upperBound) * 3) {
      let change = face[at] - Double(crop.bytes[at])
      sum += change * change
    }
  }
  let change = (sum / Double(3 * inner.count * inner.count)).squareRoot()
  return min(max((kept.high - change) / (kept.high - kept.low), 0), 1)
}

/// `restored` as levels with the light and colour of `crop`, which vary slowly.
private func inLight(of crop: Photo, _ restored: Photo) -> [Double] {
  let side = crop.width
  let edges = (0...cells).map { rounded(Double($0 * side) / Double(cells)) }
  var means = [Double](repeating: 0, count: cells * cells * 3)
  for row in 0..<cells {
    for column in 0..<cells {
      let rows = edges[row]..<max(edges[row + 1], edges[row] + 1)
      let columns = edges[column]..<max(edges[column + 1], edges[column] + 1)
      let to = (row * cells + column) * 3
      for y in rows {
        for x in columns {
          let at = (y * side + x) * 3
          for k in 0..<3 {
            means[to + k] += Double(crop.bytes[at + k]) - Double(restored.bytes[at + k])
          }
        }
      }
      for k in 0..<3 { means[to + k] /= Double(rows.count * columns.count) }
    }
  }
  let places = (0..<side).map { i -> (low: Int, part: Double) in
    let at = min(
      max((Double(i) + 0.5) * Double(cells) / Double(side) - 0.5, 0), Double(cells - 1))
    let low = min(Int(at), cells - 2)
    return (low, at - Double(low))
  }
  var made = restored.bytes.map(Double.init)
  for y in 0..<side {
    let (i, b) = places[y]
    for x in 0..<side {
      let (j, a) = places[x]
      let (above, below) = ((i * cells + j) * 3, ((i + 1) * cells + j) * 3)
      for k in 0..<3 {
        let one = means[above + k] * (1 - a) + means[above + 3 + k] * a
        let two = means[below + k] * (1 - a) + means[below + 3 + k] * a
        made[(y * side + x) * 3 + k] += one * (1 - b) + two * b
      }
    }
  }
  return made
}
