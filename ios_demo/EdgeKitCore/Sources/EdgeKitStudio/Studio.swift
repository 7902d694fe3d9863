import EdgeKitCore
import Foundation
import Observation

/// Everything that the app's screens show and do, without a screen: tested where no phone is.
///
/// The one rule of editing: a picture that is being edited when something changes is dropped, not
/// queued. Stills are then edited once more as they should be now, camera frames are skipped.
@MainActor
@Observable
public final class Studio {
  public enum Phase: Equatable, Sendable { case empty, loading, ready, failed }

  public internal(set) var phase = Phase.empty
  /// What happened last, a sentence.
  public internal(set) var status = ""
  public internal(set) var statusIsError = false

  public internal(set) var bundles: [BundleFolder] = []
  public internal(set) var bundleIndex = 0
  public internal(set) var models: [ModelEntry] = []
  public internal(set) var modelPath = ""
  public internal(set) var unit = ComputeUnit.all
  /// Which file runs where, and why if it is not where it was asked for.
  public internal(set) var engineLine = ""

  public internal(set) var firstConcept = ""
  public internal(set) var secondConcept: String?
  /// Share of the second concept, 0 to 1.
  public internal(set) var share = 0.5

  public internal(set) var before: Photo?
  public internal(set) var after: Photo?
  public internal(set) var latency: Latency?
  /// What was restored in the photo that is shown; nil for an editor's picture.
  public internal(set) var portrait: Portrait?
  public internal(set) var progress: Double?
  /// Where the divider stands: the share of the width that shows the photo before the edit.
  public internal(set) var split = 0.5
  /// Longest side of what is edited; nil edits photos as they are.
  public internal(set) var longest: Int? = 512

  public internal(set) var isLive = false
  public internal(set) var framesShown = 0
  public internal(set) var framesDropped = 0

  public internal(set) var isMeasuring = false
  public internal(set) var history: BenchmarkHistory
  public internal(set) var checkLine = ""

  @ObservationIgnored let loader: any EngineLoader
  @ObservationIgnored let device: DeviceProbe
  @ObservationIgnored let clock: Clock
  @ObservationIgnored let system: Int
  @ObservationIgnored let historyFile: URL?
  @ObservationIgnored private var sizedForFaces = false
  @ObservationIgnored var editor: Editor?
  /// Of a portrait bundle: what finds faces.
  @ObservationIgnored var nets: FaceNets?
  @ObservationIgnored var source: Photo?
  @ObservationIgnored var running: Task<Void, Never>?
  @ObservationIgnored var frameInFlight = false
  /// Raised when something is loaded or let go, so that a slow load that is overtaken is dropped.
  @ObservationIgnored var generation = 0

  /// `system` is the major version of the operating system.
  public init(
    loader: any EngineLoader, system: Int, device: DeviceProbe = .current,
    historyFile: URL? = nil, clock: Clock = .system
  ) {
    (self.loader, self.system, self.device) = (loader, system, device)
    (self.historyFile, self.clock) = (historyFile, clock)
    history = historyFile.map(BenchmarkHistory.read) ?? BenchmarkHistory()
  }

  /// Read the bundles in a folder and load the first one's best file.
  public func start(bundlesIn folder: URL) async {
    var refused: [String] = []
    bundles = BundleFolder.all(in: folder) { name, error in
      refused.append("\(name): \(sentence(of: error))")
    }
    if let refused = refused.first, bundles.isEmpty { return fail(refused) }
    guard !bundles.isEmpty else {
      return fail("This app holds no bundle — put one in with `edgekit app --target ios`")
    }
    await choose(bundle: 0)
    if let refused = refused.first { say("A bundle is left out: \(refused)", error: true) }
  }

  public var bundle: BundleFolder? {
    bundles.indices.contains(bundleIndex) ? bundles[bundleIndex] : nil
  }

  public var title: String { bundle?.manifest.title ?? "edgekit" }

  public var concepts: [ConceptEntry] { bundle?.manifest.concepts ?? [] }

  /// Whether the open bundle switches between concepts.
  public var isBase: Bool { bundle?.manifest.adapterInput != nil }

  /// Whether the open bundle restores faces in photos: no camera, no concepts.
  public var isPortrait: Bool { bundle?.manifest.isPortrait ?? false }

  public func choose(bundle index: Int) async {
    guard bundles.indices.contains(index) else { return }
    open(index)
    let manifest = bundles[index].manifest
    guard let best = models.first else {
      release()
      return fail(
        "\(manifest.name) holds no file that this device runs — export it with --target ios")
    }
    await choose(model: best.path)
  }

  private func open(_ index: Int) {
    let manifest = bundles[index].manifest
    bundleIndex = index
    models = manifest.runnable(formats: loader.formats, system: system)
    (firstConcept, secondConcept) = (manifest.concepts.first?.name ?? "", nil)
    if manifest.isPortrait { isLive = false }
    // A face needs its pixels; an edit of the whole photo needs time for each of them.
    if manifest.isPortrait != sizedForFaces {
      (longest, sizedForFaces) = (manifest.isPortrait ? 2048 : 512, manifest.isPortrait)
    }
  }

  public func choose(model path: String) async {
    modelPath = path
    await load()
  }

  public func choose(unit: ComputeUnit) async {
    self.unit = unit
    await load()
  }

  /// Load the chosen file, then let go of the one before. A file that does not load leaves the one
  /// before in place.
  func load() async {
    guard let bundle, let entry = models.first(where: { $0.path == modelPath }) else { return }
    generation += 1
    let mine = generation
    phase = .loading
    say("Loading \(entry.path).")
    do {
      let made = try await Editor(bundle, entry, on: unit, by: loader, clock: clock)
      let finding = try await loadedNets(of: bundle)
      guard mine == generation else { return }  // something else was chosen meanwhile
      let isAnother = editor.map { $0.bundle.url != bundle.url } ?? true
      (editor, nets) = (made, finding)
      checkLine = ""
      let model = made.model
      engineLine =
        "\(entry.format) \(entry.precision) on \(model.unit.label), loaded in "
        + "\(decimals(model.loadMs, 0)) ms, first call \(decimals(model.firstMs, 1)) ms."
        + (model.note.isEmpty ? "" : " \(model.note)")
      phase = .ready
      say("Ready.")
      if isAnother { await fit() }
      await useConcepts()
    } catch {
      guard mine == generation else { return }
      if let kept = editor {
        if let index = bundles.firstIndex(where: { $0.url == kept.bundle.url }) { open(index) }
        (phase, modelPath) = (.ready, kept.entry.path)
        say(sentence(of: error), error: true)
      } else {
        fail(sentence(of: error))
      }
    }
  }

  /// The nets of a portrait bundle; those that are loaded serve each of its files.
  private func loadedNets(of bundle: BundleFolder) async throws -> FaceNets? {
    guard bundle.manifest.isPortrait else { return nil }
    if let nets, editor?.bundle.url == bundle.url { return nets }
    return try await FaceNets(of: bundle, by: loader, system: system, clock: clock)
  }

  /// Let go of the model: on a memory warning, or when the app goes to the background. Pictures stay.
  public func release() {
    generation += 1
    running?.cancel()
    (editor, nets) = (nil, nil)
    engineLine = ""
    isLive = false
    phase = .empty
    say("The model is unloaded.")
  }

  /// Load again what `release` let go of.
  public func resume() async {
    guard editor == nil, phase == .empty, bundle != nil else { return }
    await load()
  }

  func say(_ text: String, error: Bool = false) { (status, statusIsError) = (text, error) }

  func fail(_ text: String) {
    phase = .failed
    say(text, error: true)
  }

  /// Run work whose failure is a sentence on the screen.
  func guarded(_ work: () async throws -> Void) async {
    do {
      try await work()
    } catch is CancellationError {
    } catch {
      say(sentence(of: error), error: true)
    }
  }
}
