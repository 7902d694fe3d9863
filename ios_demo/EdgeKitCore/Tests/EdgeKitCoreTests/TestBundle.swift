import EdgeKitCore
import Foundation

/// A bundle on disk whose "model" is a function here: what is tested is everything around it.
struct TestBundle {
  let folder: URL
  static let tile = 16

  /// `base` makes one that takes a concept; its files are those of the golden folder.
  init(base: Bool = false, files: [(path: String, precision: String)] = [("ios/a.fp32.x", "fp32")])
    throws
  {
    folder = try temporaryFolder()
    let side = Self.tile
    var inputs: [[String: Any]] = [Self.port("image", [1, 3, side, side], "nchw")]
    var manifest: [String: Any] = [
      "kind": "bundle", "schema_version": 1, "name": "test", "prompt": "make it negative",
    ]
    var arrays: [(String, [Int], [Float])] = []
    let count = 3 * side * side
    let image = (0..<2 * count).map { Float($0 % 200) / 100 - 1 }
    arrays.append(("image", [2, 3, side, side], image))
    arrays.append(("image_out", [2, 3, side, side], image.map { -$0 }))
    if base {
      let golden = try golden().concepts
      inputs.append(Self.port("adapter", [1, golden.entry.length], "flat"))
      arrays.append(
        (
          "adapter", [2, golden.entry.length], [Float](repeating: 0, count: 2 * golden.entry.length)
        ))
      manifest["adapter_input"] = try goldenObject("concepts")["entry"]
      manifest["concepts"] = try zip(["night", "snow"], golden.files).map {
        name, data -> [String: Any] in
        let path = "adapters/\(name).safetensors"
        try write(data, to: folder.appendingPathComponent(path))
        return [
          "name": name, "prompt": "make it \(name)", "path": path, "sha256": edgekitSHA256(data),
          "bytes": data.count,
        ]
      }
    }
    manifest["models"] = try files.map { path, precision -> [String: Any] in
      let data = Data("a model called \(path)".utf8)
      try write(data, to: folder.appendingPathComponent(path))
      return [
        "path": path, "sha256": edgekitSHA256(data), "format": "x", "precision": precision,
        "bytes": data.count, "inputs": inputs,
        "outputs": [Self.port("image_out", [1, 3, side, side], "nchw")],
      ]
    }
    let archive = npz(arrays)
    try write(archive, to: folder.appendingPathComponent("golden/vectors.npz"))
    manifest["golden"] = [
      "path": "golden/vectors.npz", "sha256": edgekitSHA256(archive), "samples": 2,
    ]
    try write(
      try JSONSerialization.data(withJSONObject: manifest),
      to: folder.appendingPathComponent("manifest.json"))
  }

  private static func port(_ name: String, _ shape: [Int], _ layout: String) -> [String: Any] {
    ["name": name, "shape": shape, "dtype": "float32", "layout": layout, "low": -1, "high": 1]
  }

  func opened() throws -> BundleFolder { try BundleFolder(at: folder) }

  /// A folder that holds this bundle, as the app has one.
  func shelf() throws -> URL {
    let shelf = try temporaryFolder()
    try FileManager.default.moveItem(at: folder, to: shelf.appendingPathComponent("test"))
    return shelf
  }
}

/// An uncompressed .npz of float32 arrays, as numpy writes it.
private func npz(_ arrays: [(String, [Int], [Float])]) -> Data {
  var body = Bytes()
  var directory = Bytes()
  for (name, shape, values) in arrays {
    let sides = shape.map(String.init).joined(separator: ", ")
    var header = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(sides)), }"
    header += String(repeating: " ", count: 63 - (10 + header.utf8.count) % 64) + "\n"
    var content = Bytes()
    content.all += [0x93]
    content.add("NUMPY")
    content.all += [1, 0]
    content.add(header.utf8.count, 2)
    content.add(header)
    for value in values { content.add(Int(value.bitPattern), 4) }
    let file = "\(name).npy"
    // Stored; no checksum, which no reader here looks at.
    var facts = Bytes()
    facts.add(0, 10)
    facts.add(content.all.count, 4)
    facts.add(content.all.count, 4)
    facts.add(file.utf8.count, 2)
    directory.add(0x0201_4b50, 4)
    directory.add(20, 2)
    directory.add(20, 4)
    directory.all += facts.all
    directory.add(0, 12)
    directory.add(body.all.count, 4)
    directory.add(file)
    body.add(0x0403_4b50, 4)
    body.add(20, 4)
    body.all += facts.all
    body.add(0, 2)
    body.add(file)
    body.all += content.all
  }
  var end = Bytes()
  end.add(0x0605_4b50, 4)
  end.add(0, 4)
  end.add(arrays.count, 2)
  end.add(arrays.count, 2)
  end.add(directory.all.count, 4)
  end.add(body.all.count, 4)
  end.add(0, 2)
  return Data(body.all + directory.all + end.all)
}

private struct Bytes {
  var all: [UInt8] = []

  /// Little-endian.
  mutating func add(_ value: Int, _ count: Int) {
    for i in 0..<count { all.append(i < 8 ? UInt8(truncatingIfNeeded: value >> (8 * i)) : 0) }
  }

  mutating func add(_ text: String) { all += Array(text.utf8) }
}

/// A model that is a function: it makes negatives, and adds a tenth of the adapter's first value.
///
/// With a gate closed, calls wait until it is opened: what happens meanwhile can then be tested.
actor TestEngine: Engine {
  private(set) var calls = 0
  private var waiting: [CheckedContinuation<Void, Never>] = []
  private var isClosed = false
  let failure: EdgekitError?
  let strength: Float

  init(failure: EdgekitError? = nil, strength: Float = -1) {
    (self.failure, self.strength) = (failure, strength)
  }

  func close() { isClosed = true }

  func open() {
    isClosed = false
    for one in waiting { one.resume() }
    waiting = []
  }

  var isWaiting: Bool { !waiting.isEmpty }

  func run(_ feeds: [String: Tensor]) async throws -> [String: Tensor] {
    calls += 1
    if let failure { throw failure }
    if isClosed { await withCheckedContinuation { waiting.append($0) } }
    guard case .numbers(let image) = feeds["image"] else {
      throw EdgekitError("no image", hint: "feed one")
    }
    var shift: Float = 0
    if case .numbers(let adapter) = feeds["adapter"] { shift = adapter[0] / 10 }
    return ["image_out": .numbers(image.map { strength * $0 + shift })]
  }
}

/// Hands out one engine, or fails on the units that are told.
struct TestLoader: EngineLoader {
  let formats: Set<String> = ["x"]
  let engine: TestEngine
  var failsOn: Set<ComputeUnit> = []
  /// Loads there, but the first call fails.
  var failsLaterOn: Set<ComputeUnit> = []
  var damaged: Set<String> = []

  init(_ engine: TestEngine = TestEngine()) { self.engine = engine }

  func load(_ entry: ModelEntry, at url: URL, on unit: ComputeUnit) async throws -> any Engine {
    if failsOn.contains(unit) || damaged.contains(entry.path) {
      throw EdgekitError("\(unit.rawValue) refuses", hint: "try another")
    }
    if failsLaterOn.contains(unit) {
      return TestEngine(failure: EdgekitError("\(unit.rawValue) fails", hint: "try another"))
    }
    return engine
  }
}

/// A clock that moves by a millisecond at each look.
final class TestClock: @unchecked Sendable {
  private let lock = NSLock()
  private var now = 0.0

  var clock: Clock { Clock(wallMs: { self.tick() }, cpuMs: { 0 }) }

  private func tick() -> Double {
    lock.withLock {
      now += 1
      return now
    }
  }
}

/// Wait until something becomes true; false after ten seconds.
func eventually(_ condition: @Sendable () async -> Bool) async -> Bool {
  for _ in 0..<1000 {
    if await condition() { return true }
    try? await Task.sleep(for: .milliseconds(10))
  }
  return false
}
