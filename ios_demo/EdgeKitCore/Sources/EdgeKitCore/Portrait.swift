import Foundation

/// A photo whose faces were restored, and what that cost.
public struct Portrait: Sendable {
  public let photo: Photo
  /// How many faces were restored.
  public let restored: Int
  /// What a person should know of the others, or of the result: sentences.
  public let notes: [String]
  /// Finding and cutting, the restorer's calls, putting back.
  public let latency: Latency
  /// Of the first part: milliseconds until the faces were found.
  public let findMs: Double
}

/// What a face must clear to be restored, as `edgekit restore` asks it.
public struct FaceBars: Sendable {
  /// Least side of the face in the photo's pixels: below, nothing of a person is left.
  public var least = 20.0
  /// Most degrees that a face is turned to a side.
  public var mostYaw = 60.0
  /// Most of the crop that lies outside the photo.
  public var mostOutside = 0.35
  /// Faces of one photo that are restored, the largest first.
  public var most = 8
  /// A face this much larger in the photo than the network's picture becomes visibly softer.
  public var soft = 1.5

  public init() {}

  /// Why a face is not restored and what to do, nil if nothing is wrong.
  func refusal(_ face: Face) -> EdgekitError? {
    if face.side < least {
      return EdgekitError(
        "is \(Int(face.side)) pixels large, less than \(decimals(least, 0))",
        hint: "choose a photo taken from nearer, or a larger copy of it")
    }
    if abs(face.yaw) > mostYaw {
      return EdgekitError(
        "is turned \(decimals(abs(face.yaw), 0)) degrees to the side, more than "
          + "\(decimals(mostYaw, 0))",
        hint: "choose a photo that shows both eyes")
    }
    return nil
  }

  func refusal(_ crop: FaceCrop, of size: Size) -> EdgekitError? {
    let outside = crop.shareOutside(size)
    guard outside > mostOutside else { return nil }
    return EdgekitError(
      "lies at the border: \(decimals(outside * 100, 0))% of what is cut out is outside the photo",
      hint: "choose a photo with room around the head")
  }
}

extension Editor {
  /// Restore the faces of a photo one after another, the largest first, and put each back into it.
  /// Each is cut out of the photo as it was given: no face is restored twice.
  ///
  /// Throws, in words, if there is no face or none that can be restored.
  public func portrait(
    _ photo: Photo, finder: FaceFinder, bars: FaceBars = FaceBars(),
    report: @Sendable (Int, Int) async -> Void = { _, _ in }
  ) async throws -> Portrait {
    let start = clock.wallMs()
    let faces = try await finder.faces(in: photo)
    let findMs = clock.wallMs() - start
    guard !faces.isEmpty else {
      throw EdgekitError(
        "no face was found", hint: "choose a photo in which a face is seen clearly")
    }
    var (made, latency, refusals) = (photo, Latency(pre: findMs), [EdgekitError]())
    var (done, largest) = (0, 0.0)
    let chosen = faces.prefix(bars.most)
    for (index, face) in chosen.enumerated() {
      try Task.checkCancellation()
      if let refusal = bars.refusal(face) {
        refusals.append(refusal)
        continue
      }
      await report(index, chosen.count)
      let began = clock.wallMs()
      let crop = FaceCrop(photo, five: face.five, side: tile.width)
      if let refusal = bars.refusal(crop, of: photo.size) {
        refusals.append(refusal)
        continue
      }
      let ready = clock.wallMs()
      let restored = try await edit(crop.photo)
      let answered = clock.wallMs()
      made = made.pasted(crop: crop.photo, restored: restored.photo, matrix: crop.matrix)
      done += 1
      largest = max(largest, crop.native)
      latency.pre += ready - began + restored.latency.pre
      latency.model += restored.latency.model
      latency.modelCPU += restored.latency.modelCPU
      latency.post += restored.latency.post + clock.wallMs() - answered
      latency.tiles += 1
    }
    if done == 0, let first = refusals.first {
      throw EdgekitError("the face \(first.what)", hint: first.hint)
    }
    var notes = refusals.map { "One face is left as before: it \($0.what)." }
    if faces.count > bars.most {
      let left = faces.count - bars.most
      notes.append(
        "\(left) smaller \(left == 1 ? "face is" : "faces are") left as before, beyond "
          + "\(bars.most).")
    }
    if largest > bars.soft * Double(tile.width) {
      notes.append(
        "A face fills \(decimals(largest, 0)) pixels of the photo and the restorer makes "
          + "\(tile.width): where it changes much, it is softer than its surroundings.")
    }
    return Portrait(photo: made, restored: done, notes: notes, latency: latency, findMs: findMs)
  }
}
