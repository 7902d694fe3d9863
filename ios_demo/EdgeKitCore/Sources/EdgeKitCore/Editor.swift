import Foundation

/// How long an edit took, milliseconds, split into its parts.
public struct Latency: Sendable, Equatable {
  public var pre = 0.0
  public var model = 0.0
  public var post = 0.0
  public var tiles = 0
  /// Processor time of this process during the model's calls.
  public var modelCPU = 0.0

  public init(pre: Double = 0, model: Double = 0, post: Double = 0, tiles: Int = 0) {
    (self.pre, self.model, self.post, self.tiles) = (pre, model, post, tiles)
  }

  public var total: Double { pre + model + post }
}

/// An edited photo and what it cost.
public struct Edit: Sendable {
  public let photo: Photo
  public let latency: Latency
}

/// One loaded model of a bundle, switched between concepts, timed in its parts.
public actor Editor {
  public nonisolated let bundle: BundleFolder
  public nonisolated let entry: ModelEntry
  public nonisolated let model: LoadedModel
  public nonisolated let input: ModelPort
  public nonisolated let output: ModelPort
  /// The size of the pictures that the model takes.
  public nonisolated let tile: Size
  nonisolated let clock: Clock
  private var concepts: [String: Concept] = [:]
  private var vector: [Float]?

  /// Check and load one file of a bundle.
  public init(
    _ bundle: BundleFolder, _ entry: ModelEntry, on unit: ComputeUnit, by loader: any EngineLoader,
    clock: Clock = .system
  ) async throws {
    let adapter = bundle.manifest.adapterInput?.port
    input = try entry.inputs.picture(besides: adapter)
    output = try entry.outputs.picture()
    tile = input.pictureSize ?? Size(height: 1, width: 1)
    model = try await loadWithFallback(
      entry, at: try bundle.checked(entry), on: unit, by: loader, clock: clock)
    (self.bundle, self.entry, self.clock) = (bundle, entry, clock)
  }

  /// Switch a base to concepts with weights above 0; nothing is loaded again. Returns the share of
  /// the change that the base has no room for.
  @discardableResult
  public func use(_ weights: [(name: String, weight: Double)]) throws -> Double {
    guard let adapter = bundle.manifest.adapterInput else { return 0 }
    let rows = try weights.map { (concept: try concept($0.name), weight: $0.weight) }
    guard let first = rows.first else { throw Self.needsConcept }
    if rows.count == 1, first.weight == 1 {
      vector = try adapter.vector(first.concept, name: weights[0].name)
      return 0
    }
    let blend = try adapter.blended(rows)
    vector = blend.vector
    return blend.lost
  }

  private static let needsConcept = EdgekitError("this base needs a concept", hint: "choose one")

  private func concept(_ name: String) throws -> Concept {
    if let held = concepts[name] { return held }
    let read = try bundle.concept(named: name)
    concepts[name] = read
    return read
  }

  /// Edit a photo of any size.
  public func edit(
    _ photo: Photo, report: @Sendable (Int, Int) async -> Void = { _, _ in }
  ) async throws -> Edit {
    var spent = Latency()
    let extra = try adapterFeed()
    let start = clock.wallMs()
    let made = try await editTiled(photo, tile: tile, report: report) { tile in
      let began = clock.wallMs()
      var feeds = extra
      feeds[input.name] = input.isImage ? .picture(tile) : .numbers(portValues(tile, input))
      let (ready, busy) = (clock.wallMs(), clock.cpuMs())
      let outputs = try await model.engine.run(feeds)
      let answered = clock.wallMs()
      spent.pre += ready - began
      spent.model += answered - ready
      spent.modelCPU += clock.cpuMs() - busy
      spent.tiles += 1
      return try levels(of: outputs)
    }
    // What is left: cutting tiles, levels, blending, rounding.
    spent.post = clock.wallMs() - start - spent.pre - spent.model
    return Edit(photo: made, latency: spent)
  }

  private func adapterFeed() throws -> [String: Tensor] {
    guard let adapter = bundle.manifest.adapterInput else { return [:] }
    guard let vector else { throw Self.needsConcept }
    return [adapter.port: .numbers(vector)]
  }

  private func levels(of outputs: [String: Tensor]) throws -> [Float] {
    let made: [Float]
    switch outputs[output.name] {
    case .numbers(let values): made = EdgeKitCore.levels(values, output)
    case .picture(let photo): made = photo.bytes.map(Float.init)
    case nil:
      throw EdgekitError(
        "\(entry.path) gave no \(output.name)", hint: "export the bundle again")
    }
    guard made.count == tile.height * tile.width * 3 else {
      throw EdgekitError(
        "\(entry.path) gave \(made.count) values, expected \(tile.height * tile.width * 3)",
        hint: "export the bundle again")
    }
    return made
  }

  /// Run the golden vectors that Python wrote and compare.
  public func check() async throws -> GoldenCheck {
    let golden = bundle.manifest.golden
    let arrays = try numpyArchive(try bundle.data(golden))
    var worst: Parity?
    for index in 0..<golden.samples {
      var feeds: [String: Tensor] = [:]
      for port in entry.inputs {
        feeds[port.name] = try sample(arrays[port.name], index, golden.samples, port.name).feed(
          port)
      }
      let made = try levels(of: try await model.engine.run(feeds)).map { $0 * 2 / 255 - 1 }
      let wanted = try sample(arrays[output.name], index, golden.samples, output.name).interleaved()
      let found = Parity(reference: wanted, candidate: made)
      if worst.map({ !(found.psnrDB >= $0.psnrDB) }) ?? true { worst = found }
    }
    guard let worst else {
      throw EdgekitError("the bundle has no golden samples", hint: "export the bundle again")
    }
    return GoldenCheck(
      worst: worst, samples: golden.samples, precision: entry.precision, image: output.isImage)
  }

  private func sample(
    _ array: NumpyArray?, _ index: Int, _ count: Int, _ name: String
  ) throws -> GoldenSample {
    guard let array, count > 0, array.shape.first == count else {
      throw EdgekitError(
        "the golden vectors hold no \(count) samples of \(name)", hint: "export the bundle again")
    }
    let size = array.values.count / count
    return GoldenSample(values: Array(array.values[index * size..<(index + 1) * size]))
  }
}

/// One golden picture (NCHW, values in [-1, 1]) or another input, as the file holds it.
private struct GoldenSample {
  let values: [Float]

  func interleaved() -> [Float] {
    let count = values.count / 3
    return (0..<count * 3).map { values[$0 % 3 * count + $0 / 3] }
  }

  func feed(_ port: ModelPort) -> Tensor {
    guard let size = port.pictureSize else { return .numbers(values) }
    if port.isImage {
      return .picture(Photo(size: size, bytes: interleaved().map { byte(($0 + 1) * 127.5) }))
    }
    let scale = Float(port.high - port.low) / 2
    let laid = port.layout == .nchw ? values : interleaved()
    return .numbers(laid.map { ($0 + 1) * scale + Float(port.low) })
  }
}

/// The worst golden sample against PyTorch's output, held to the bars of `edgekit verify`.
public struct GoldenCheck: Sendable, Equatable {
  public let worst: Parity
  public let samples: Int
  public let passes: Bool
  /// What is shown.
  public let sentence: String

  public init(worst: Parity, samples: Int, precision: String, image: Bool) {
    (self.worst, self.samples) = (worst, samples)
    let bar: String
    switch precision {
    case "fp32":
      // A picture object holds bytes: one level is the nearest that it can come.
      passes = worst.maxAbs <= (image ? 2.0 / 255 + 1e-6 : 1e-4)
      bar = image ? "one level" : "1e-4"
    case "fp16":
      passes = worst.psnrDB >= 55
      bar = "55 dB"
    default:
      passes = worst.psnrDB >= 35
      bar = "35 dB"
    }
    let off = String(format: "%.1e", worst.maxAbs)
    let outcome = passes ? "It passes (\(bar))." : "It fails (\(bar))."
    sentence =
      "Largest difference from PyTorch on \(samples) golden samples: \(off), "
      + "\(decimals(worst.psnrDB, 1)) dB; black to white is 2. \(outcome)"
  }
}
