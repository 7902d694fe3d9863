import Foundation

/// Pictures painted here, so that the app has some before the user gives one.
public enum SampleScene: String, CaseIterable, Sendable, Identifiable {
  case lake, coast, hills

  public var id: String { rawValue }

  public var label: String { rawValue.prefix(1).uppercased() + rawValue.dropFirst() }

  public func photo(_ size: Size = Size(height: 480, width: 640)) -> Photo {
    var bytes = [UInt8]()
    bytes.reserveCapacity(size.height * size.width * 3)
    for y in 0..<size.height {
      for x in 0..<size.width {
        let place = (Double(x) / Double(size.width), Double(y) / Double(size.height))
        let (r, g, b) = colour(place.0, place.1)
        bytes += [byte(Float(r)), byte(Float(g)), byte(Float(b))]
      }
    }
    return Photo(size: size, bytes: bytes)
  }

  private typealias Colour = (Double, Double, Double)

  private func colour(_ x: Double, _ y: Double) -> Colour {
    let scene = look
    var found = mixed(scene.zenith, scene.horizon, y / 0.6)
    let sun = ((x - scene.sun.0) * 1.33, y - scene.sun.1)
    let distance = (sun.0 * sun.0 + sun.1 * sun.1).squareRoot()
    found = mixed(found, (255, 243, 196), soft(0.075 - distance, 0.012) + 0.25 * exp(-distance * 9))
    for (index, ridge) in scene.ridges.enumerated() {
      let phase = Double(index + 1) * scene.phase
      let wave =
        sin(x * 10.5 + phase) + 0.5 * sin(x * 27.8 + 2 * phase) + 0.25 * sin(x * 71 + 3 * phase)
      let edge = ridge.base + ridge.rough * wave
      let shade = 1 - 0.35 * (y - edge)
      let ground = (ridge.colour.0 * shade, ridge.colour.1 * shade, ridge.colour.2 * shade)
      found = mixed(found, ground, soft(y - edge, 0.004))
    }
    if let water = scene.water, y > water {
      let ripple = 0.06 * sin(140 * (y - water) / (0.15 + y - water) + 6 * sin(9 * x))
      let depth = mixed(scene.horizon, (32, 84, 130), 0.35 + 0.9 * (y - water) + ripple)
      found = mixed(found, depth, soft(y - water, 0.004))
    }
    return house(x, y, over: found)
  }

  private func house(_ x: Double, _ y: Double, over ground: Colour) -> Colour {
    let (left, right, top, bottom) = (0.2, 0.29, 0.64, 0.73)
    if (left...right).contains(x), (top...bottom).contains(y) {
      let lit = (0.225...0.245).contains(x) && (0.665...0.695).contains(y)
      return lit ? (255, 226, 140) : (181, 82, 59)
    }
    let slope = (y - (top - 0.06)) / 0.06
    let half = (right - left) / 2 + 0.012
    if (0...1).contains(slope), abs(x - (left + right) / 2) < half * slope { return (109, 58, 44) }
    return ground
  }

  private struct Look {
    let zenith, horizon: Colour
    let sun: (Double, Double)
    let ridges: [(base: Double, rough: Double, colour: Colour)]
    let water: Double?
    let phase: Double
  }

  private var look: Look {
    switch self {
    case .lake:
      Look(
        zenith: (91, 155, 216), horizon: (220, 235, 245), sun: (0.78, 0.2),
        ridges: [
          (0.45, 0.05, (138, 163, 184)), (0.55, 0.03, (95, 127, 114)), (0.68, 0.02, (73, 115, 63)),
        ], water: 0.8, phase: 1)
    case .coast:
      Look(
        zenith: (70, 130, 200), horizon: (250, 214, 170), sun: (0.3, 0.36),
        ridges: [(0.52, 0.02, (150, 140, 150)), (0.66, 0.03, (206, 180, 130))], water: 0.78,
        phase: 2.3)
    case .hills:
      Look(
        zenith: (110, 170, 225), horizon: (235, 240, 225), sun: (0.62, 0.16),
        ridges: [
          (0.42, 0.04, (150, 175, 165)), (0.54, 0.05, (110, 150, 90)), (0.7, 0.04, (134, 163, 62)),
        ], water: nil, phase: 3.7)
    }
  }

  private func mixed(_ one: Colour, _ two: Colour, _ share: Double) -> Colour {
    let t = min(max(share, 0), 1)
    return (
      one.0 + (two.0 - one.0) * t, one.1 + (two.1 - one.1) * t, one.2 + (two.2 - one.2) * t
    )
  }

  /// 0 to 1 across an edge of this width.
  private func soft(_ distance: Double, _ width: Double) -> Double {
    min(max(distance / width + 0.5, 0), 1)
  }
}
