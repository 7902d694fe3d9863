import Foundation

/// The vectors that Python wrote beside a model: what goes in and what has to come out.
struct GoldenVectors {
  let count: Int
  private let arrays: [String: NumpyArray]

  static let noSamples = EdgekitError(
    "the bundle has no golden samples", hint: "export the bundle again")

  init(of bundle: BundleFolder) throws {
    arrays = try numpyArchive(try bundle.data(bundle.manifest.golden))
    count = bundle.manifest.golden.samples
  }

  func sample(_ name: String, _ index: Int) throws -> GoldenSample {
    guard let array = arrays[name], count > 0, array.shape.first == count else {
      throw EdgekitError(
        "the golden vectors hold no \(count) samples of \(name)", hint: "export the bundle again")
    }
    let size = array.values.count / count
    return GoldenSample(values: Array(array.values[index * size..<(index + 1) * size]))
  }

  /// What a model's inputs get of a sample.
  func feeds(_ entry: ModelEntry, _ index: Int) throws -> [String: Tensor] {
    var feeds: [String: Tensor] = [:]
    for port in entry.inputs { feeds[port.name] = try sample(port.name, index).feed(port) }
    return feeds
  }
}

/// One golden picture (NCHW, values in [-1, 1]) or another input, as the file holds it.
struct GoldenSample {
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

extension Parity {
  /// The one of two that is farther from its reference; a NaN is farther than anything.
  func worse(than other: Parity?) -> Parity {
    guard let other, psnrDB >= other.psnrDB else { return self }
    return other
  }
}

/// The worst golden sample against PyTorch's output, held to the bars of `edgekit verify`.
public struct GoldenCheck: Sendable, Equatable {
  public let worst: Parity
  public let samples: Int
  public let passes: Bool
  /// What is shown.
  public let sentence: String

  /// `told` says what was compared with what.
  public init(
    worst: Parity, samples: Int, precision: String, image: Bool,
    told: String = "Largest difference from PyTorch"
  ) {
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
      "\(told) on \(samples) golden samples: \(off), "
      + "\(decimals(worst.psnrDB, 1)) dB; black to white is 2. \(outcome)"
  }
}
