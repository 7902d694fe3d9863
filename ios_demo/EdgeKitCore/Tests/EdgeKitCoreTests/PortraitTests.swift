import Foundation
import Testing

@testable import EdgeKitCore
@testable import EdgeKitStudio

/// A portrait bundle whose nets say what the golden file lets them say, and whose restorer makes
/// negatives.
private struct PortraitBundle {
  let shelf: URL

  init(asking extra: String? = nil, without missing: FaceNet? = nil) throws {
    let bundle = try TestBundle()
    shelf = try bundle.shelf()
    let folder = shelf.appendingPathComponent("test")
    try Self.changed(folder) { manifest in
      manifest["form"] = "restorer"
      manifest["prompt"] = ""
      if let extra, var models = manifest["models"] as? [[String: Any]],
        var inputs = models[0]["inputs"] as? [[String: Any]]
      {
        inputs.append(["name": extra, "shape": [1, 4], "layout": "flat"])
        models[0]["inputs"] = inputs
        manifest["models"] = models
      }
      manifest["parts"] = try FaceNet.allCases.filter { $0 != missing }.map { net in
        let path = "faces/\(net.rawValue)"
        let sha256 = try Self.part(net, at: folder.appendingPathComponent(path))
        return ["name": net.rawValue, "path": path, "form": "face_net", "sha256": sha256]
      }
    }
  }

  /// Write a net's bundle and return the sha256 of its manifest.
  private static func part(_ net: FaceNet, at folder: URL) throws -> String {
    let made = try TestBundle(files: [("ios/\(net.rawValue).x", "fp32")]).folder
    try FileManager.default.createDirectory(
      at: folder.deletingLastPathComponent(), withIntermediateDirectories: true)
    try FileManager.default.moveItem(at: made, to: folder)
    try changed(folder) { manifest in
      manifest["form"] = "face_net"
      guard var models = manifest["models"] as? [[String: Any]] else { return }
      func port(_ name: String, _ shape: [Int], _ layout: String) -> [String: Any] {
        ["name": name, "shape": shape, "layout": layout]
      }
      models[0]["inputs"] = [port("picture", [1, net.side, net.side, 3], "nhwc")]
      models[0]["outputs"] = [
        port("short", [1, net.outputs.short], "flat"), port("long", [1, net.outputs.long], "flat"),
      ]
      manifest["models"] = models
    }
    return try edgekitSHA256(at: folder.appendingPathComponent("manifest.json"))
  }

  static func changed(_ folder: URL, _ change: (inout [String: Any]) throws -> Void) throws {
    let file = folder.appendingPathComponent("manifest.json")
    let value = try JSONSerialization.jsonObject(with: try Data(contentsOf: file))
    var manifest = try #require(value as? [String: Any])
    try change(&manifest)
    try JSONSerialization.data(withJSONObject: manifest).write(to: file)
  }
}

/// Hands out the golden nets by the names of their files, and a restorer for any other.
private struct PortraitLoader: EngineLoader {
  let formats: Set<String> = ["x"]
  let nets: RepeatingNets?
  let restorer = TestEngine()

  init(seeing: Bool = true) throws { nets = seeing ? RepeatingNets(try faceGolden().found) : nil }

  func load(_ entry: ModelEntry, at url: URL, on unit: ComputeUnit) async throws -> any Engine {
    guard let net = FaceNet.allCases.first(where: { entry.path.contains($0.rawValue) }) else {
      return restorer
    }
    return NetEngine(net: net, nets: nets)
  }
}

private struct NetEngine: Engine {
  let net: FaceNet
  let nets: RepeatingNets?

  func run(_ feeds: [String: Tensor]) async throws -> [String: Tensor] {
    guard case .numbers(let input) = feeds["picture"] else {
      throw EdgekitError("no picture", hint: "feed one")
    }
    // The call that tries a net when it is loaded is not one of those that the golden file tells.
    guard let nets, input.contains(where: { $0 != 0 }) else {
      let short = [Float](repeating: -5, count: net.outputs.short)
      return [
        "long": .numbers([Float](repeating: 0, count: net.outputs.long)), "short": .numbers(short),
      ]
    }
    let said = await nets.run(net, input)
    return ["long": .numbers(said.long), "short": .numbers(said.short)]
  }
}

/// The golden photo four times as large: there the faces that the nets tell of are large enough.
private func enlarged() throws -> Photo {
  let photo = try faceGolden().photo.photo
  return photo.resized(to: Size(height: 4 * photo.height, width: 4 * photo.width))
}

@MainActor
private func studio(seeing: Bool = true, _ bundle: PortraitBundle? = nil) async throws -> (
  Studio, PortraitLoader
) {
  let loader = try PortraitLoader(seeing: seeing)
  let studio = Studio(loader: loader, system: 17)
  await studio.start(bundlesIn: try (bundle ?? PortraitBundle()).shelf)
  return (studio, loader)
}

@MainActor
@Suite("Portraits in the studio", .enabled(if: hasGolden, "no golden file"))
struct PortraitTests {
  @Test func allFacesOfAPhotoAreRestoredAndTheRestStaysAsItIs() async throws {
    let (studio, loader) = try await studio()
    let photo = try enlarged()

    await studio.show(photo)

    let found = try faceGolden().found.faces.count
    let portrait = try #require(studio.portrait)
    #expect(studio.isPortrait)
    #expect(studio.title == "Restore faces")
    let left = portrait.notes.count { $0.hasPrefix("One face is left as before") }
    #expect(portrait.restored + left == found)
    #expect(portrait.restored > 0)
    #expect(await loader.restorer.calls == portrait.restored + 1)  // one when it was loaded
    #expect(studio.before == photo)
    let after = try #require(studio.after)
    #expect(after.bytes != photo.bytes)
    #expect(studio.latencyLine.contains("finding faces"))
    #expect(studio.latencyLine.contains("putting back"))
    #expect(studio.progress == nil)
    #expect(!studio.statusIsError)
  }

  @Test func aPhotoWithoutAFaceSaysSo() async throws {
    let (studio, _) = try await studio(seeing: false)

    await studio.show(try enlarged())

    #expect(studio.statusIsError)
    #expect(
      studio.status
        == "no face was found — choose a photo in which a face is seen clearly")
    #expect(studio.after == nil)
  }

  @Test func facesThatAreTooSmallOrTurnedAwayAreNamed() {
    let bars = FaceBars()
    func face(_ side: Double, _ yaw: Double) -> Face {
      Face(five: [], score: 1, side: side, yaw: yaw, middle: Point(0, 0))
    }

    #expect(bars.refusal(face(20, 60)) == nil)
    #expect(bars.refusal(face(14, 0))?.what == "is 14 pixels large, less than 20")
    #expect(bars.refusal(face(50, -70))?.what == "is turned 70 degrees to the side, more than 60")
  }

  @Test func noMoreFacesThanTheBoundAreRestoredAndTheLargestAreTaken() async throws {
    var bars = FaceBars()
    bars.mostOutside = 2
    bars.most = 2

    let made = try await portrait(bars)

    let smaller = try faceGolden().found.faces.count - 2
    #expect(made.restored == 2)
    #expect(made.notes.contains("\(smaller) smaller faces are left as before, beyond 2."))
  }

  @Test func aPhotoWhoseFacesAreAllTooSmallSaysSo() async throws {
    var bars = FaceBars()
    bars.least = 1000

    await #expect {
      _ = try await portrait(bars)
    } throws: { error in
      let words = sentence(of: error)
      return words.hasPrefix("the face is ") && words.contains("pixels large, less than 1000")
        && words.hasSuffix("choose a photo taken from nearer, or a larger copy of it")
    }
  }

  private func portrait(_ bars: FaceBars) async throws -> Portrait {
    let folder = try PortraitBundle().shelf.appendingPathComponent("test")
    let (bundle, loader) = (try BundleFolder(at: folder), try PortraitLoader())
    let editor = try await Editor(bundle, bundle.manifest.models[0], on: .all, by: loader)
    let nets = try await FaceNets(of: bundle, by: loader, system: 17)
    return try await editor.portrait(
      try enlarged(), finder: nets.finder, bars: bars)
  }

  @Test func aBundleThatAsksForThePersonOrLacksANetIsLeftOutWithASentence() async throws {
    let cases = [
      (try PortraitBundle(asking: "code"), "asks for a code of the person"),
      (try PortraitBundle(asking: "memory_8"), "asks for good photos of the person"),
      (try PortraitBundle(without: .far), "lacks the net face_detection_full_range"),
    ]
    for (bundle, words) in cases {
      let (studio, _) = try await studio(bundle)

      #expect(studio.phase == .failed)
      #expect(studio.status.contains(words))
    }
  }

  @Test func aNetThatWasExchangedIsNotUsed() async throws {
    let bundle = try PortraitBundle()
    let folder = bundle.shelf.appendingPathComponent("test")
    try PortraitBundle.changed(folder.appendingPathComponent("faces/face_landmark")) {
      $0["prompt"] = "changed"
    }

    let (studio, _) = try await studio(bundle)

    #expect(studio.phase == .failed)
    #expect(studio.status.contains("faces/face_landmark is not the part that was put in"))
  }

  @Test func thereIsNoCameraAndLettingGoTakesTheNetsToo() async throws {
    let (studio, _) = try await studio()
    studio.startLive()
    #expect(!studio.isLive)
    #expect(studio.status.contains("Faces are restored in photos"))
    #expect(studio.longest == 2048)

    studio.release()
    #expect(studio.nets == nil)
    await studio.resume()
    #expect(studio.nets != nil)
    await studio.measure(calls: 3, warmup: 0)
    #expect(studio.history.rows.count == 1)
    #expect(studio.history.rows[0].goldenPasses)
  }

  @Test func betweenAnEditorAndARestorerTheSamePhotoIsDoneAnewInItsOwnSize() async throws {
    let shelf = try PortraitBundle().shelf
    let editor = try TestBundle()
    try FileManager.default.moveItem(
      at: editor.folder, to: shelf.appendingPathComponent("an-editor"))
    let loader = try PortraitLoader()
    let studio = Studio(loader: loader, system: 17)
    await studio.start(bundlesIn: shelf)
    await studio.show(try enlarged())
    #expect(studio.portrait == nil)
    #expect(studio.longest == 512)

    await studio.choose(bundle: 1)
    #expect(studio.portrait?.restored ?? 0 > 0)
    #expect(studio.longest == 2048)

    await studio.choose(bundle: 0)
    #expect(studio.portrait == nil)
    #expect(studio.latencyLine.contains("preparing"))
  }

  @Test func aRestorerThatDoesNotLoadLeavesTheEditorOnTheScreen() async throws {
    let shelf = try PortraitBundle().shelf
    try PortraitBundle.changed(shelf.appendingPathComponent("test/faces/face_landmark")) {
      $0["prompt"] = "changed"
    }
    try FileManager.default.moveItem(
      at: try TestBundle().folder, to: shelf.appendingPathComponent("an-editor"))
    let studio = Studio(loader: try PortraitLoader(), system: 17)
    await studio.start(bundlesIn: shelf)

    await studio.choose(bundle: 1)

    #expect(studio.statusIsError)
    #expect(studio.phase == .ready)
    #expect(studio.bundleIndex == 0)
    #expect(!studio.isPortrait)
    #expect(studio.longest == 512)
    await studio.show(try enlarged())
    #expect(studio.after != nil)
    #expect(studio.portrait == nil)
  }
}
