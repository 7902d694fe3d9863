import Foundation
import Testing

@testable import EdgeKitCore

@Suite(
  "What Python computes", .enabled(if: hasGolden, "no tests/golden/golden.json above this folder"))
struct GoldenTests {
  @Test func aPhotoFillsEveryKindOfPortAsInPython() throws {
    let pixels = try golden().pixels
    let photo = Photo(size: Size(height: pixels.height, width: pixels.width), bytes: pixels.photo)
    for filled in pixels.ports {
      let port = ModelPort(
        name: "image", shape: [], layout: filled.layout, low: filled.low, high: filled.high)

      #expect(near(portValues(photo, port), filled.values, 1e-7))
      #expect(levels(filled.values, port).map(byte) == pixels.photo)
    }
  }

  @Test func levelsAreRoundedHalfToEvenAndClipped() throws {
    let pixels = try golden().pixels

    #expect(pixels.levels.map(byte) == pixels.bytes)
    #expect([.nan, .infinity, -.infinity].map(byte) == [0, 255, 0])
  }

  @Test func tilesLieAndWeighAsInPython() throws {
    for wanted in try golden().tiles.axes {
      let got = TileAxis(length: wanted.length, side: wanted.side)

      #expect(got.starts == wanted.starts)
      #expect(got.weights.count == wanted.weights.count)
      for (row, expected) in zip(got.weights, wanted.weights) { #expect(near(row, expected, 1e-6)) }
    }
  }

  @Test func aPhotoOfAnySizeIsEditedThroughTilesAsInPython() async throws {
    for row in try golden().tiles.photos {
      let photo = Photo(size: Size(height: row.height, width: row.width), bytes: row.photo)
      let tile = Size(height: row.tile, width: row.tile)

      let made = try await editTiled(photo, tile: tile) { tile in
        tile.bytes.enumerated().map { Float($1) * 0.75 + 8 * Float($0 / 3 % tile.width % 4) }
      }

      #expect(made.bytes == row.edited)
    }
  }

  @Test func photosAreScaledDownToALongestSideAsInPython() throws {
    for row in try golden().sizes {
      let made = Size(height: row.height, width: row.width).limited(to: row.maxSide)

      #expect(made == Size(height: row.madeHeight, width: row.madeWidth))
    }
  }

  @Test func exifOrientationsAreUndoneAsInPython() throws {
    let cases = try golden().orientations
    let photo = Photo(size: Size(height: cases.height, width: cases.width), bytes: cases.photo)
    #expect(cases.upright.map(\.orientation) == Array(1...8))
    for row in cases.upright {
      let size = Size(height: row.height, width: row.width)

      #expect(photo.upright(orientation: row.orientation) == Photo(size: size, bytes: row.photo))
    }
  }

  @Test func percentilesAndSummariesAreNumpys() throws {
    for row in try golden().statistics {
      for (percent, value) in row.percentiles {
        #expect(near(percentile(row.ms, try #require(Double(percent))), value, 1e-9))
      }
      let got = Summary(row.ms)

      #expect(near(got.p50, row.p50, 1e-9))
      #expect(near(got.spread, row.spread, 1e-9))
      #expect(near(got.drift, row.drift, 1e-9))
      #expect(got.warnings.count == row.warnings)
      #expect((got.p90 == nil) == (row.p90 == nil))
      if let p90 = row.p90 { #expect(near(try #require(got.p90), p90, 1e-9)) }
      #expect((got.p99 != nil) == (row.ms.count >= 100))
    }
  }

  @Test func picturesAreComparedAsInPython() throws {
    for row in try golden().parity {
      let got = Parity(reference: row.reference, candidate: row.candidate)

      #expect(near(got.maxAbs, row.maxAbs, 1e-7))
      #expect(near(got.psnrDB, row.psnrDB, 1e-4))
    }
    #expect(Parity(reference: [.nan, 0], candidate: [0, 0]).maxAbs.isNaN)
  }

  @Test func aConceptsFileFillsTheAdapterInputAsInPython() throws {
    let concepts = try golden().concepts
    for (file, vector) in zip(concepts.files, concepts.vectors) {
      #expect(try concepts.entry.vector(Concept(file, name: "x"), name: "x") == vector)
    }
  }

  @Test func blendsChangeEachLayerAsInPythonAlsoThoseCutToTheCapacity() throws {
    let concepts = try golden().concepts
    #expect(concepts.blends.contains { $0.lost > 0 } && concepts.blends.contains { $0.lost == 0 })
    for row in concepts.blends {
      let rows = try zip(concepts.files, row.weights).filter { $0.1 > 0 }.map {
        (concept: try Concept($0.0, name: "x"), weight: $0.1)
      }
      let blend = try concepts.entry.blended(rows)
      func held(_ name: String) throws -> (block: BlockEntry, values: [Double]) {
        let block = try #require(concepts.entry.blocks.first { $0.name == name })
        let range = block.offset..<block.offset + block.rows * block.columns
        return (block, blend.vector[range].map(Double.init))
      }

      #expect(near(blend.lost, row.lost, 1e-6))
      for (name, values) in row.plain {
        #expect(zip(try held(name).values, values).allSatisfy { near($0, $1, 1e-6) })
      }
      for (layer, values) in row.products {
        let (down, up) = (try held("\(layer).A"), try held("\(layer).B"))
        var product: [Double] = []
        for o in 0..<up.block.columns {
          for i in 0..<down.block.columns {
            var sum = 0.0
            for r in 0..<down.block.rows {
              let one: Double = up.values[r * up.block.columns + o]
              sum += one * down.values[r * down.block.columns + i]
            }
            product.append(sum)
          }
        }
        #expect(product.count == values.count)
        #expect(zip(product, values).allSatisfy { near($0, $1, 2e-5) })
      }
    }
  }

  @Test func conceptsThatNoBaseMayLoadAreRefusedWithTheWordsOfPython() throws {
    let concepts = try golden().concepts
    #expect(concepts.refused.count >= 8)
    for row in concepts.refused {
      let error = caught {
        _ = try concepts.entry.vector(Concept(row.file, name: "night"), name: "night")
      }
      #expect(error?.description.contains(row.words) == true, "\(row.name): \(error?.what ?? "")")
    }
  }

  @Test func goldenVectorsAreReadAsNumpyWroteThem() throws {
    let vectors = try golden().vectors
    let got = try numpyArchive(vectors.npz)

    #expect(Set(got.keys) == Set(vectors.arrays.keys))
    for (name, array) in vectors.arrays {
      #expect(got[name] == NumpyArray(shape: array.shape, values: array.values))
    }
    for row in vectors.refused {
      let error = caught { _ = try numpyArchive(row.npz) }
      #expect(error?.description.contains(row.words) == true)
    }
  }

  @Test func hashesOfFilesAndFoldersAreThoseOfPython() throws {
    for row in try golden().hashes { #expect(edgekitSHA256(row.bytes) == row.sha256) }
    for row in try golden().folders {
      let folder = try temporaryFolder()
      defer { try? FileManager.default.removeItem(at: folder) }
      for (path, data) in row.files { try write(data, to: folder.appendingPathComponent(path)) }

      #expect(try edgekitSHA256(at: folder) == row.sha256)
    }
  }

  @Test func manifestsAreAcceptedAndRefusedAsEverywhere() throws {
    let cases = try goldenValue("manifests")
    #expect(cases.count >= 18)
    var forms: Set<String> = []
    for row in cases {
      let data = try JSONSerialization.data(withJSONObject: try #require(row["manifest"]))
      guard let words = row["refused"] as? String else {
        let manifest = try Manifest.checked(data)
        forms.insert(manifest.form)
        guard manifest.form == "restorer" else {
          try manifest.checkIsShown()
          continue
        }
        #expect(manifest.parts.map(\.name) == ["enroller"])
        #expect(manifest.assets.map(\.path) == ["words.safetensors"])
        let error = caught { try manifest.checkIsShown() }
        #expect(error?.what.contains("this app restores without") == true)
        continue
      }
      let error = caught { _ = try Manifest.checked(data) }
      #expect(error?.description.contains(words) == true, "\(words): \(error?.description ?? "")")
    }
    #expect(forms == ["base", "restorer"])
  }

  @Test func theSealOfAManifestIsThatOfPythonToTheLastDigit() throws {
    let seals = try goldenValue("seals")
    #expect(!seals.isEmpty)
    for row in seals {
      let text = try #require(row["text"] as? String)
      let sha256 = try #require(row["sha256"] as? String)

      #expect(try CanonicalJSON.sha256(Data(text.utf8), without: "manifest_sha256") == sha256)
    }
  }

  @Test func thePortOfThePictureIsFoundOrTheModelIsRefused() throws {
    for row in try golden().ports {
      guard let sides = row.sides else {
        let error = caught { _ = try row.ports.picture(besides: row.adapter) }
        #expect(error?.what.contains("not from one photo to one photo") == true)
        continue
      }
      let size = try row.ports.picture(besides: row.adapter).pictureSize
      #expect(size == Size(height: sides[0], width: sides[1]))
    }
  }
}

/// The error that a user would read; nil if there was none.
func caught(_ work: () throws -> Void) -> EdgekitError? {
  do {
    try work()
    return nil
  } catch {
    return error as? EdgekitError
  }
}

func temporaryFolder() throws -> URL {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  return folder
}

func write(_ data: Data, to file: URL) throws {
  try FileManager.default.createDirectory(
    at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
  try data.write(to: file)
}
