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
    let golden = try GoldenVectors(of: bundle)
    var worst: Parity?
    for index in 0..<golden.count {
      let outputs = try await model.engine.run(try golden.feeds(entry, index))
      let made = try levels(of: outputs).map { $0 * 2 / 255 - 1 }
      let wanted = try golden.sample(output.name, index).interleaved()
      worst = Parity(reference: wanted, candidate: made).worse(than: worst)
    }
    guard let worst else { throw GoldenVectors.noSamples }
    return GoldenCheck(
      worst: worst, samples: golden.count, precision: entry.precision, image: output.isImage)
  }
}
