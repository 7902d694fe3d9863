import EdgeKitCore
import Foundation

/// tests/golden/golden.json: what Python computed, and what pytest, node and JUnit read as well.
struct Golden: Decodable, Sendable {
  let pixels: Pixels
  let tiles: Tiles
  let sizes: [Limit]
  let statistics: [Run]
  let parity: [Compared]
  let concepts: Concepts
  let vectors: Vectors
  let hashes: [Hash]
  let ports: [PictureCase]
  let orientations: Orientations
  let folders: [Folder]

  struct Pixels: Decodable, Sendable {
    let photo: [UInt8]
    let width, height: Int
    let ports: [Filled]
    let levels: [Float]
    let bytes: [UInt8]

    struct Filled: Decodable, Sendable {
      let layout: ModelPort.Layout
      let low, high: Double
      let values: [Float]
    }
  }

  struct Tiles: Decodable, Sendable {
    let axes: [Axis]
    let photos: [Edited]

    struct Axis: Decodable, Sendable {
      let length, side: Int
      let starts: [Int]
      let weights: [[Float]]
    }

    struct Edited: Decodable, Sendable {
      let height, width, tile: Int
      let photo, edited: [UInt8]
    }
  }

  struct Limit: Decodable, Sendable {
    let height, width: Int
    let maxSide, madeHeight, madeWidth: Int

    private enum CodingKeys: String, CodingKey {
      case height, width
      case maxSide = "max_side"
      case madeHeight = "made_height"
      case madeWidth = "made_width"
    }
  }

  struct Run: Decodable, Sendable {
    let ms: [Double]
    let percentiles: [String: Double]
    let p50: Double
    let p90: Double?
    let spread, drift: Double
    let warnings: Int

    private enum CodingKeys: String, CodingKey {
      case ms, percentiles, spread, drift, warnings
      case p50 = "p50_ms"
      case p90 = "p90_ms"
    }
  }

  struct Compared: Decodable, Sendable {
    let reference, candidate: [Float]
    let maxAbs, psnrDB: Double

    private enum CodingKeys: String, CodingKey {
      case reference, candidate
      case maxAbs = "max_abs"
      case psnrDB = "psnr_db"
    }
  }

  struct Concepts: Decodable, Sendable {
    let entry: AdapterEntry
    let files: [Data]
    let vectors: [[Float]]
    let blends: [Blended]
    let refused: [Refused]

    struct Blended: Decodable, Sendable {
      let weights: [Double]
      let lost: Double
      let products, plain: [String: [Double]]
    }

    struct Refused: Decodable, Sendable {
      let name, words: String
      let file: Data
    }
  }

  struct Vectors: Decodable, Sendable {
    let npz: Data
    let arrays: [String: Array]
    let refused: [Refused]

    struct Array: Decodable, Sendable {
      let shape: [Int]
      let values: [Float]
    }

    struct Refused: Decodable, Sendable {
      let words: String
      let npz: Data
    }
  }

  struct Hash: Decodable, Sendable {
    let bytes: Data
    let sha256: String
  }

  struct PictureCase: Decodable, Sendable {
    let ports: [ModelPort]
    let adapter: String?
    let sides: [Int]?
  }

  struct Orientations: Decodable, Sendable {
    let height, width: Int
    let photo: [UInt8]
    let upright: [Upright]

    struct Upright: Decodable, Sendable {
      let orientation, height, width: Int
      let photo: [UInt8]
    }
  }

  struct Folder: Decodable, Sendable {
    let files: [String: Data]
    let sha256: String
  }
}

/// Where the golden folder lies: beside the sources of the repository, or where EDGEKIT_GOLDEN says.
let goldenFile: URL? = {
  if let told = ProcessInfo.processInfo.environment["EDGEKIT_GOLDEN"], !told.isEmpty {
    return URL(fileURLWithPath: told)
  }
  var folder = URL(fileURLWithPath: #filePath)
  while folder.path != "/" {
    folder.deleteLastPathComponent()
    let file = folder.appendingPathComponent("tests/golden/golden.json")
    if FileManager.default.fileExists(atPath: file.path) { return file }
  }
  return nil
}()

/// A copy of the app without the repository has no golden folder: its tests are skipped, not passed.
let hasGolden = goldenFile != nil

private struct GoldenMissing: Error {}

/// Read once.
private let read: Result<Golden, any Error> = Result {
  guard let goldenFile else { throw GoldenMissing() }
  return try JSONDecoder().decode(Golden.self, from: try Data(contentsOf: goldenFile))
}

func golden() throws -> Golden { try read.get() }

/// Parts as they stand in the file, where their decoding is what is tested.
func goldenValue(_ key: String) throws -> [[String: Any]] {
  try goldenJSON()[key] as? [[String: Any]] ?? []
}

func goldenObject(_ key: String) throws -> [String: Any] {
  try goldenJSON()[key] as? [String: Any] ?? [:]
}

private func goldenJSON() throws -> [String: Any] {
  guard let goldenFile else { throw GoldenMissing() }
  let value = try JSONSerialization.jsonObject(with: try Data(contentsOf: goldenFile))
  return value as? [String: Any] ?? [:]
}

func near(_ got: [Float], _ wanted: [Float], _ tolerance: Float) -> Bool {
  got.count == wanted.count && zip(got, wanted).allSatisfy { abs($0 - $1) <= tolerance }
}

func near(_ got: Double, _ wanted: Double, _ tolerance: Double) -> Bool {
  abs(got - wanted) <= tolerance
}
