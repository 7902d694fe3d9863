import Foundation
import Testing

@testable import EdgeKitCore
@testable import EdgeKitStudio

@MainActor
private func studio(
  _ loader: TestLoader = TestLoader(), base: Bool = false,
  files: [(path: String, precision: String)] = [("ios/a.fp32.x", "fp32")], history: URL? = nil
) async throws -> Studio {
  let made = Studio(loader: loader, system: 17, historyFile: history)
  await made.start(bundlesIn: try TestBundle(base: base, files: files).shelf())
  return made
}

private func photo(_ side: Int, _ level: UInt8 = 10) -> Photo {
  Photo(
    size: Size(height: side, width: side), bytes: [UInt8](repeating: level, count: side * side * 3))
}

@MainActor
@Suite("The studio")
struct StudioTests {
  @Test func theFirstBundlesBestFileIsLoadedAndSaysWhereItRuns() async throws {
    let studio = try await studio(files: [("ios/a.fp32.x", "fp32"), ("ios/a.fp16.x", "fp16")])

    #expect(studio.phase == .ready)
    #expect(studio.title == "make it negative")
    #expect(studio.models.count == 2)
    #expect(studio.engineLine.contains("on Automatic, loaded in"))
  }

  @Test func aPhotoIsEditedAndItsLatencyIsToldInParts() async throws {
    let studio = try await studio()

    await studio.show(photo(40))

    #expect(studio.after?.bytes.allSatisfy { $0 == 245 } == true)
    #expect(studio.latency?.tiles == 9)
    #expect(studio.latencyLine.contains("40 x 40: preparing"))
    #expect(studio.latencyLine.contains("9 tiles"))
    #expect(studio.latencyLine.contains("first call took"))
  }

  @Test func aLargePhotoIsScaledToTheChosenSideAndBack() async throws {
    let studio = try await studio()
    await studio.choose(longest: 32)

    await studio.show(photo(64))
    #expect(studio.after?.size == Size(height: 32, width: 32))

    await studio.choose(longest: nil)
    #expect(studio.after?.size == Size(height: 64, width: 64))
  }

  @Test func aUnitThatRefusesIsReplacedAndTheScreenSaysSo() async throws {
    var loader = TestLoader()
    loader.failsOn = [.neuralEngine]
    let studio = try await studio(loader)

    await studio.choose(unit: .neuralEngine)

    #expect(studio.phase == .ready)
    #expect(
      studio.engineLine.contains("Neural Engine is not used (neural-engine refuses); Automatic is.")
    )
  }

  @Test func aUnitThatFailsOnlyWhenCalledIsReplacedToo() async throws {
    var loader = TestLoader()
    loader.failsLaterOn = [.gpu, .all]
    let studio = try await studio(loader)

    await studio.choose(unit: .gpu)

    #expect(studio.engineLine.contains("Graphics processor is not used"))
    #expect(studio.engineLine.contains("Processor is."))
  }

  @Test func aFileThatLoadsNowhereLeavesTheOneBeforeInPlace() async throws {
    var loader = TestLoader()
    loader.damaged = ["ios/b.fp32.x"]
    let studio = try await studio(
      loader, files: [("ios/a.fp16.x", "fp16"), ("ios/b.fp32.x", "fp32")])
    let before = studio.modelPath

    await studio.choose(model: "ios/b.fp32.x")

    #expect(studio.phase == .ready)
    #expect(studio.modelPath == before)
    #expect(studio.statusIsError && studio.status.contains("runs on no unit of this device"))
    await studio.show(photo(16))
    #expect(studio.after != nil)
  }

  @Test func anAppWithoutBundlesSaysWhatToDo() async throws {
    let studio = Studio(loader: TestLoader(), system: 17)

    await studio.start(bundlesIn: try temporaryFolder())

    #expect(studio.phase == .failed)
    #expect(studio.status.contains("edgekit app --target ios"))
  }

  @Test func aDamagedBundleIsASentenceAndDoesNotHideTheOthers() async throws {
    let shelf = try TestBundle().shelf()
    try write(Data("{}".utf8), to: shelf.appendingPathComponent("broken/manifest.json"))
    let studio = Studio(loader: TestLoader(), system: 17)

    await studio.start(bundlesIn: shelf)

    #expect(studio.phase == .ready)
    #expect(
      studio.statusIsError && studio.status.contains("broken: this is not the manifest of a bundle")
    )
  }

  @Test func aFileThatWasChangedIsRefused() async throws {
    let shelf = try TestBundle().shelf()
    try Data("x".utf8).write(to: shelf.appendingPathComponent("test/ios/a.fp32.x"))
    let studio = Studio(loader: TestLoader(), system: 17)

    await studio.start(bundlesIn: shelf)

    #expect(studio.phase == .failed)
    #expect(studio.status.contains("is not the file that was exported"))
  }

  @Test func aPictureThatIsOvertakenIsDroppedNotQueued() async throws {
    let engine = TestEngine()
    let studio = try await studio(TestLoader(engine))
    await studio.show(photo(16, 10))
    await engine.close()
    let first = Task { await studio.show(photo(16, 20)) }
    #expect(await eventually { await engine.isWaiting })
    let second = Task { await studio.show(photo(16, 30)) }
    #expect(await eventually { await MainActor.run { studio.before?.bytes.first == 30 } })
    await engine.open()
    await first.value
    await second.value

    #expect(studio.after?.bytes.first == 225)
    #expect(await engine.calls == 4)  // the trial, and one for each photo
  }

  @Test func framesThatComeWhileOneIsEditedAreDropped() async throws {
    let engine = TestEngine()
    let studio = try await studio(TestLoader(engine))
    studio.startLive()
    await engine.close()
    let first = Task { await studio.frame(photo(20, 10)) }
    #expect(await eventually { await engine.isWaiting })

    #expect(await studio.frame(photo(20, 20)) == false)
    #expect(await studio.frame(photo(20, 30)) == false)
    await engine.open()

    #expect(await first.value)
    #expect(studio.framesShown == 1)
    #expect(studio.framesDropped == 2)
    #expect(studio.after?.size == Size(height: 16, width: 16))
    studio.stopLive()
    #expect(await studio.frame(photo(20)) == false)
  }

  @Test func theGateLetsOneFrameInAndCountsTheOthers() {
    let gate = FrameGate()

    #expect(gate.enter())
    #expect(!gate.enter())
    #expect(!gate.enter())
    #expect(gate.leave() == 2)
    #expect(gate.enter())
    #expect(gate.leave() == 0)
  }

  @Test func theModelIsUnloadedAndLoadedAgain() async throws {
    let studio = try await studio()
    await studio.show(photo(16))

    studio.release()
    #expect(studio.phase == .empty && studio.after != nil)
    await studio.show(photo(16, 99))
    #expect(studio.after == nil)

    await studio.resume()
    #expect(studio.phase == .ready)
    #expect(studio.after?.bytes.first == 156)
  }

  @Test func theDividerStaysInThePictureAndSpeaks() async throws {
    let studio = try await studio()

    studio.setSplit(0.25)
    #expect(studio.splitDescription == "25 percent before, 75 percent after")
    studio.moveSplit(by: -0.5)
    #expect(studio.split == 0)
    studio.moveSplit(by: 2)
    #expect(studio.splitDescription == "100 percent before, 0 percent after")
  }

  @Test(.enabled(if: hasGolden)) func aBaseIsSwitchedAndMixedWithoutLoadingAgain() async throws {
    let engine = TestEngine()
    let studio = try await studio(TestLoader(engine), base: true)
    await studio.show(photo(16, 128))
    let night = try #require(studio.after?.bytes.first)
    await studio.choose(first: "snow")
    let snow = try #require(studio.after?.bytes.first)
    #expect(night != snow)

    await studio.choose(second: "night")
    #expect(studio.isMixing)
    await studio.setShare(1)
    #expect(studio.after?.bytes.first == night)
    await studio.setShare(0)
    #expect(studio.after?.bytes.first == snow)
    await studio.setShare(0.5)

    #expect(studio.status.contains("cut to what the base has room for"))
    await studio.choose(second: nil)
    #expect(!studio.isMixing)
  }

  @Test func aFailingModelIsASentence() async throws {
    let bundle = try TestBundle().opened()
    let failure = EdgekitError("out of memory", hint: "close other apps")
    let entry = bundle.manifest.models[0]

    await #expect(throws: EdgekitError.self) {
      _ = try await Editor(bundle, entry, on: .cpu, by: TestLoader(TestEngine(failure: failure)))
    }
  }
}
