import Foundation
import Testing

@testable import EdgeKitCore

private func most(_ one: [UInt8], _ two: [UInt8]) -> Int {
  guard one.count == two.count else { return 256 }
  return zip(one, two).map { abs(Int($0) - Int($1)) }.max() ?? 0
}

@Suite("Faces, as Python sees them", .enabled(if: hasGolden, "no golden file"))
struct FaceTests {
  @Test func aFaceIsCutOutByTheSameMatrixAndToTheSameBytes() throws {
    let golden = try faceGolden()
    #expect(golden.cases.count >= 5)
    for row in golden.cases {
      let photo = golden.photo.photo

      let made = FaceCrop(photo, five: points(row.points), side: row.size)

      let (got, wanted) = (made.matrix, row.affine)
      let off = [
        got.a - wanted.a, got.b - wanted.b, got.c - wanted.c, got.d - wanted.d, got.e - wanted.e,
        got.f - wanted.f,
      ]
      #expect(off.allSatisfy { abs($0) < 1e-4 }, "\(row.name): \(off)")
      let bytes = photo.cutOut(wanted, side: row.size).bytes
      #expect(most(bytes, [UInt8](row.crop)) == 0, "\(row.name)")
      #expect(most(made.photo.bytes, [UInt8](row.crop)) <= 1, "\(row.name)")
      let shifted = photo.cutOut(
        Affine(wanted.a, wanted.b, wanted.c + 1, wanted.d, wanted.e, wanted.f), side: row.size)
      #expect(most(shifted.bytes, [UInt8](row.crop)) > 8, "the control: \(row.name)")
    }
  }

  @Test func aRestoredFaceIsPutBackWithTheSameLightAndTheSameEdges() throws {
    let golden = try faceGolden()
    for row in golden.cases {
      let made = golden.photo.photo.pasted(
        crop: row.square(row.crop), restored: row.square(row.restored), matrix: row.affine)

      // Sums in another order may round the other way.
      #expect(most(made.bytes, [UInt8](row.pasted)) <= 1, "\(row.name)")
      let off = zip(made.bytes, [UInt8](row.pasted)).count { $0 != $1 }
      #expect(off < made.bytes.count / 1000, "\(row.name)")
    }
  }

  @Test func facesFollowFromWhatTheNetsSayAsInPython() async throws {
    let golden = try faceGolden()
    let nets = RepeatingNets(golden.found)
    let finder = FaceFinder { await nets.run($0, $1) }

    let faces = try await finder.faces(in: golden.photo.photo)

    #expect(faces.count == golden.found.faces.count)
    for (face, wanted) in zip(faces, golden.found.faces) {
      for (got, point) in zip(face.five, points(wanted.points)) {
        #expect((got - point).length < 1e-3)
      }
      #expect(near(face.side, wanted.side, 1e-3))
      #expect(near(face.yaw, wanted.yaw, 1e-3))
      #expect(near(face.score, wanted.score, 1e-5))
    }
    let calls = await nets.calls
    #expect(calls.map(\.net) == golden.found.calls.map(\.net))
    for (got, wanted) in zip(calls, golden.found.calls) {
      #expect(near(got.mean, wanted.mean, 1e-5), "what \(wanted.net) is given")
    }
  }

  @Test func aPhotoInWhichNoNetSeesAnythingHasNoFace() async throws {
    let finder = FaceFinder { net, _ in
      (
        [Float](repeating: 0, count: net.outputs.long),
        [Float](repeating: -5, count: net.outputs.short)
      )
    }

    let faces = try await finder.faces(in: try faceGolden().photo.photo)

    #expect(faces.isEmpty)
  }

  @Test func aPhotoThatItsPointsCallAlignedIsOnlyScaled() throws {
    let photo = try faceGolden().photo.photo.middleSquare
    let side = Double(photo.width)
    let five = [(0.375, 0.475), (0.625, 0.475), (0.5, 0.6), (0.4, 0.725), (0.6, 0.725)]

    let made = FaceCrop(photo, five: five.map { Point($0.0 * side, $0.1 * side) }, side: 32)

    let scaled = photo.resized(to: Size(height: 32, width: 32))
    #expect(most(made.photo.bytes, scaled.bytes) == 0)
    #expect(near(made.matrix.a, 32 / side, 1e-7))
    #expect(made.matrix.b == 0)
    #expect(made.shareOutside(photo.size) == 0)
  }
}
