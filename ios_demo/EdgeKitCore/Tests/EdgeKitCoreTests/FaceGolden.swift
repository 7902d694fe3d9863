import EdgeKitCore
import Foundation
import Testing

/// tests/golden/faces.json: faces that Python found, cut out and put back.
struct FaceGolden: Decodable, Sendable {
  let photo: Whole
  let cases: [Case]
  let found: Found

  struct Whole: Decodable, Sendable {
    let width, height: Int
    let data: Data

    var photo: Photo { Photo(size: Size(height: height, width: width), bytes: [UInt8](data)) }
  }

  struct Case: Decodable, Sendable {
    let name: String
    let points, matrix: [Double]
    let size: Int
    let crop, restored, pasted: Data

    func square(_ data: Data) -> Photo {
      Photo(size: Size(height: size, width: size), bytes: [UInt8](data))
    }

    var affine: Affine {
      Affine(matrix[0], matrix[1], matrix[2], matrix[3], matrix[4], matrix[5])
    }
  }

  struct Found: Decodable, Sendable {
    let nets: [Net]
    let mesh: Mesh
    let calls: [Call]
    let faces: [Seen]

    struct Net: Decodable, Sendable {
      let name: String
      let places: Int
      let quiet: Float
      let said: [Said]

      struct Said: Decodable, Sendable {
        let place: Int
        let logit: Float
        let values: [Float]
      }
    }

    struct Mesh: Decodable, Sendable {
      let values: Data
      let step: Float
      let flags: [Float]

      var numbers: [Float] {
        let bytes = [UInt8](values)
        return (0..<bytes.count / 4).map { i in
          Float(
            bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[4 * i + $1]) << (8 * $1) })
        }
      }
    }

    struct Call: Decodable, Sendable {
      let net: String
      let mean: Double
    }

    struct Seen: Decodable, Sendable {
      let points: [Double]
      let score, side, yaw: Double
    }
  }
}

func faceGolden() throws -> FaceGolden { try faces.get() }

private let faces: Result<FaceGolden, any Error> = Result {
  let file = try #require(goldenFile).deletingLastPathComponent()
    .appendingPathComponent("faces.json")
  return try JSONDecoder().decode(FaceGolden.self, from: try Data(contentsOf: file))
}

/// Places as the golden file holds them: x and y in turns.
func points(_ values: [Double]) -> [Point] {
  (0..<values.count / 2).map { Point(values[2 * $0], values[2 * $0 + 1]) }
}

/// The nets of the golden file, which say the same whatever they see; it remembers what that was.
actor RepeatingNets {
  private let found: FaceGolden.Found
  private let mesh: [Float]
  private(set) var calls: [(net: String, mean: Double)] = []

  init(_ found: FaceGolden.Found) { (self.found, mesh) = (found, found.mesh.numbers) }

  func run(_ net: FaceNet, _ input: [Float]) -> (long: [Float], short: [Float]) {
    let number = calls.count { $0.net == net.rawValue }
    calls.append((net.rawValue, input.reduce(0) { $0 + Double($1) } / Double(input.count)))
    guard let row = found.nets.first(where: { $0.name == net.rawValue }) else {
      let turned = mesh.indices.map { i in
        (number % 3 == 2 && i % 3 == 2 ? -mesh[i] : mesh[i]) + found.mesh.step * Float(number)
      }
      return (turned, [found.mesh.flags[number % found.mesh.flags.count]])
    }
    var values = [Float](repeating: 0, count: row.places * 16)
    var logits = [Float](repeating: row.quiet, count: row.places)
    for said in row.said {
      logits[said.place] = said.logit
      values.replaceSubrange(
        16 * said.place..<16 * said.place + said.values.count, with: said.values)
    }
    return (values, logits)
  }
}
