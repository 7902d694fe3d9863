import EdgeKitCore
import Foundation

extension Studio {
  // MARK: Concepts

  public func choose(first name: String) async {
    firstConcept = name
    await useConcepts()
  }

  /// nil takes the second concept away.
  public func choose(second name: String?) async {
    secondConcept = name
    await useConcepts()
  }

  public func setShare(_ value: Double) async {
    share = min(max(value, 0), 1)
    await useConcepts()
  }

  /// Whether two concepts are mixed.
  public var isMixing: Bool { secondConcept.map { $0 != firstConcept } ?? false }

  var weights: [(name: String, weight: Double)] {
    guard isMixing, let secondConcept else { return [(firstConcept, 1)] }
    return [(firstConcept, 1 - share), (secondConcept, share)].filter { $0.1 > 0 }
  }

  func useConcepts() async {
    await guarded {
      guard let editor else { return }
      let lost = isBase ? try await editor.use(weights) : 0
      await editAgain()
      if lost > 0, !statusIsError {
        let share = decimals(lost * 100, 1)
        say("The blend is cut to what the base has room for: \(share)% is lost.")
      }
    }
  }

  // MARK: Photos

  /// Show a photo, scaled down to the chosen longest side, and edit it.
  public func show(_ photo: Photo) async {
    isLive = false
    source = photo
    await prepare()
  }

  /// Show a photo that is still to be decoded; what goes wrong is a sentence.
  public func show(decoding work: @Sendable () async throws -> Photo) async {
    await guarded { await show(try await work()) }
  }

  public func choose(longest side: Int?) async {
    longest = side
    await prepare()
  }

  private func prepare() async {
    guard source != nil else { return }
    await fit()
    await editAgain()
  }

  /// Show the photo in the chosen size, not yet edited.
  func fit() async {
    guard let source else { return }
    let size = source.size.limited(to: longest)
    before = await Task.detached { source.shrunk(to: size) }.value
    (after, portrait) = (nil, nil)
  }

  /// Edit what is shown; an edit under way is dropped for it.
  public func editAgain() async {
    guard !isLive, let photo = before, let editor else { return }
    let overtaken = running
    overtaken?.cancel()
    let work = Task {
      await overtaken?.value
      await guarded { try await edit(photo, by: editor) }
    }
    running = work
    await work.value
  }

  private func edit(_ photo: Photo, by editor: Editor) async throws {
    defer { progress = nil }
    if editor.bundle.manifest.isPortrait { return try await restore(photo, by: editor) }
    let made = try await editor.edit(photo) { [weak self] done, total in
      await self?.told(done, total)
    }
    try Task.checkCancellation()
    (before, after, latency, portrait) = (photo, made.photo, made.latency, nil)
    say("Done.")
  }

  private func told(_ done: Int, _ total: Int) {
    if total > 4, !isLive { progress = Double(done) / Double(total) }
  }

  private func restore(_ photo: Photo, by editor: Editor) async throws {
    guard let nets else { return say("Wait for the model.", error: true) }
    (after, portrait) = (nil, nil)
    say("Looking for faces.")
    let made = try await editor.portrait(photo, finder: nets.finder) { [weak self] index, count in
      await self?.restoring(index, of: count)
    }
    try Task.checkCancellation()
    (before, after, latency, portrait) = (photo, made.photo, made.latency, made)
    let faces =
      made.restored == 1 ? "One face is restored." : "\(made.restored) faces are restored."
    say(([faces] + made.notes).joined(separator: " "))
  }

  private func restoring(_ index: Int, of count: Int) {
    if count > 1 { progress = Double(index) / Double(count) }
    say("Restoring face \(index + 1) of \(count).")
  }

  /// The line below the picture: how long each part took, the first call apart.
  public var latencyLine: String {
    guard let latency, let photo = after, let editor else { return "No photo yet." }
    let each = latency.model / Double(max(latency.tiles, 1))
    let first = "the file's first call took \(decimals(editor.model.firstMs, 1)) ms"
    if let portrait {
      return "\(photo.width) x \(photo.height): finding faces \(decimals(portrait.findMs, 1)) ms, "
        + "cutting out \(decimals(latency.pre - portrait.findMs, 1)) ms, "
        + "model \(decimals(latency.model, 1)) ms (\(latency.tiles) "
        + "\(latency.tiles == 1 ? "face" : "faces"), \(decimals(each, 1)) ms each), "
        + "putting back \(decimals(latency.post, 1)) ms; \(first)"
    }
    return "\(photo.width) x \(photo.height): preparing \(decimals(latency.pre, 1)) ms, "
      + "model \(decimals(latency.model, 1)) ms (\(latency.tiles) "
      + "\(latency.tiles == 1 ? "tile" : "tiles"), \(decimals(each, 1)) ms each), "
      + "finishing \(decimals(latency.post, 1)) ms; \(first)"
  }

  // MARK: The divider

  public func setSplit(_ value: Double) { split = min(max(value, 0), 1) }

  /// What VoiceOver's swipe up and down do.
  public func moveSplit(by step: Double) { setSplit(split + step) }

  public var splitDescription: String {
    let percent = Int((split * 100).rounded())
    return "\(percent) percent before, \(100 - percent) percent after"
  }

  // MARK: The camera

  public func startLive() {
    guard editor != nil else { return say("Wait for the model.", error: true) }
    guard !isPortrait else { return say("Faces are restored in photos — choose one", error: true) }
    running?.cancel()
    (isLive, framesShown, framesDropped, source) = (true, 0, 0, nil)
    say("Live: frames that come while one is edited are dropped.")
  }

  public func stopLive(_ reason: String? = nil) {
    isLive = false
    if let reason { say(reason, error: true) }
  }

  /// Count frames that the camera dropped before they came here.
  public func noteDropped(_ count: Int) { framesDropped += count }

  /// Edit a frame of the camera: its middle square, at the model's own size. Returns whether it was
  /// shown.
  @discardableResult
  public func frame(_ photo: Photo) async -> Bool {
    guard isLive, let editor else { return false }
    guard !frameInFlight else {
      framesDropped += 1
      return false
    }
    frameInFlight = true
    defer { frameInFlight = false }
    var shown = false
    await guarded {
      let tile = editor.tile
      let square = await Task.detached {
        let middle = photo.middleSquare
        let side = min(middle.width, max(tile.width, tile.height))
        return middle.shrunk(to: Size(height: side, width: side))
      }.value
      let made = try await editor.edit(square)
      guard isLive else { return }
      (before, after, latency) = (square, made.photo, made.latency)
      framesShown += 1
      shown = true
    }
    return shown
  }
}
