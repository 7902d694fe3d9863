import Foundation

/// Where tiles lie along one axis of a photo, and what their pixels weigh.
///
/// A tile's weight is 0 in an outer margin (there the model saw a border that the photo does not
/// have), rises as a raised cosine, and is 1 in the middle; at each pixel the weights sum to 1.
public struct TileAxis: Sendable, Equatable {
  public let starts: [Int]
  /// One row of weights a tile.
  public let weights: [[Float]]

  /// Share of a tile's side that it has in common with its neighbour.
  public static let overlap = 0.25
  /// Share of a tile's side, at an inner border, that is thrown away.
  public static let margin = 0.0625

  /// Cover `length` pixels with the fewest evenly spread tiles of `side` pixels.
  public init(length: Int, side: Int, overlap: Double = overlap, margin: Double = margin) {
    precondition(length >= side && side >= 1 && 0 <= margin && 2 * margin < overlap && overlap < 1)
    let step = side - Int((Double(side) * overlap).rounded(.up))
    let count = 1 + Int((Double(length - side) / Double(max(step, 1))).rounded(.up))
    let starts = (0..<count).map { i in
      rounded(Double(i * (length - side)) / Double(max(count - 1, 1)))
    }
    let raw = starts.indices.map { i in
      Self.window(
        side: side, cut: Int(Double(side) * margin),
        before: i > 0 ? starts[i - 1] + side - starts[i] : 0,
        after: i + 1 < count ? starts[i] + side - starts[i + 1] : 0)
    }
    var total = [Double](repeating: 0, count: length)
    for (start, weight) in zip(starts, raw) {
      for x in 0..<side { total[start + x] += weight[x] }
    }
    self.starts = starts
    weights = zip(starts, raw).map { start, weight in
      weight.indices.map { Float(weight[$0] / total[start + $0]) }
    }
  }

  private static func window(side: Int, cut: Int, before: Int, after: Int) -> [Double] {
    var weight = [Double](repeating: 1, count: side)
    for (shared, isFirst) in [(before, true), (after, false)] {
      let ramp = Double(max(shared - 2 * cut, 1))
      for i in 0..<shared {
        let at = min(max((Double(i - cut) + 0.5) / ramp, 0), 1)
        let place = isFirst ? i : side - 1 - i
        // Wide overlaps can reach across the tile's middle: never weigh more than before.
        weight[place] = min(weight[place], 0.5 - 0.5 * cos(Double.pi * at))
      }
    }
    return weight
  }
}

extension Photo {
  /// The photo continued by reflection until it has at least this size.
  public func continued(to least: Size) -> Photo {
    let size = Size(height: max(height, least.height), width: max(width, least.width))
    if size == self.size { return self }
    func mirrored(_ i: Int, _ n: Int) -> Int {
      guard n > 1 else { return 0 }
      let at = i % (2 * (n - 1))
      return at < n ? at : 2 * (n - 1) - at
    }
    var made = [UInt8]()
    made.reserveCapacity(size.height * size.width * 3)
    for y in 0..<size.height {
      let row = mirrored(y, height) * width
      for x in 0..<size.width {
        let from = (row + mirrored(x, width)) * 3
        made += bytes[from..<from + 3]
      }
    }
    return Photo(size: size, bytes: made)
  }
}

/// Edits one tile of the model's size; gives levels, 0 is black and 255 is white.
public typealias EditTile = (Photo) async throws -> [Float]

/// Edit a photo of any size with a model that takes tiles of `tile` pixels.
///
/// Rows of tiles are added into one band that moves down the photo, so memory is that of the photo,
/// the result and a band of a tile's height. Between tiles the task may be cancelled. It runs on the
/// caller's actor.
public func editTiled(
  _ photo: Photo, tile: Size, isolation: isolated (any Actor)? = #isolation,
  report: (Int, Int) async -> Void = { _, _ in }, edit: EditTile
) async throws -> Photo {
  let whole = photo.continued(to: tile)
  let rows = TileAxis(length: whole.height, side: tile.height)
  let columns = TileAxis(length: whole.width, side: tile.width)
  let (across, stride) = (tile.width * 3, whole.width * 3)
  var result = [UInt8](repeating: 0, count: whole.bytes.count)
  var band = [Float](repeating: 0, count: tile.height * stride)
  var done = 0
  for (index, top) in rows.starts.enumerated() {
    for (left, weightX) in zip(columns.starts, columns.weights) {
      try Task.checkCancellation()
      let levels = try await edit(whole.cut(top: top, left: left, size: tile))
      for y in 0..<tile.height {
        let weightY = rows.weights[index][y]
        let (from, to) = (y * across, y * stride + left * 3)
        for x in 0..<tile.width {
          let weight = weightY * weightX[x]
          for k in 3 * x..<3 * x + 3 { band[to + k] += levels[from + k] * weight }
        }
      }
      done += 1
      await report(done, rows.starts.count * columns.starts.count)
    }
    let following = index + 1 < rows.starts.count ? rows.starts[index + 1] : top + tile.height
    let ready = (following - top) * stride  // values that no later tile touches
    for i in 0..<ready { result[top * stride + i] = byte(band[i]) }
    band.removeFirst(ready)
    band += [Float](repeating: 0, count: ready)
  }
  let made = Photo(size: whole.size, bytes: result)
  return whole.size == photo.size ? made : made.cut(top: 0, left: 0, size: photo.size)
}
