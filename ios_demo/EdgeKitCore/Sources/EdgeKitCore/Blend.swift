import Foundation

/// Several concepts in one, and what the base's capacity cost; what it means: docs/adapters.md.
public struct Blend: Sendable, Equatable {
  public let vector: [Float]
  /// Share of the summed changes that did not fit (Frobenius norm); 0 for an exact blend.
  public let lost: Double
}

/// Below this share of a layer's squared change a difference is rounding.
private let nothing = 1e-12

extension AdapterEntry {
  /// Blend concepts with weights above 0.
  public func blended(_ rows: [(concept: Concept, weight: Double)]) throws -> Blend {
    for (concept, weight) in rows {
      guard weight.isFinite, weight > 0 else {
        throw EdgekitError(
          "weight \(weight) of \(concept.prompt)", hint: "give each concept a weight above 0")
      }
      try check(concept, name: concept.prompt)
    }
    let total = rows.reduce(0) { $0 + $1.weight }
    let parts = rows.map { (blocks: held($0.concept), weight: $0.weight) }
    var values: [String: ArraySlice<Float>] = [:]
    var (whole, lost) = (0.0, 0.0)
    for block in blocks {
      let dot = block.name.lastIndex(of: ".") ?? block.name.endIndex
      let layer = block.name[..<dot]
      if block.part != .factors {
        var mean = [Double](repeating: 0, count: block.rows * block.columns)
        for part in parts {
          for (i, value) in (part.blocks[block.name] ?? []).enumerated() {
            mean[i] += part.weight / total * Double(value)
          }
        }
        values[block.name] = ArraySlice(mean.map(Float.init))
      } else if block.name[dot...] == ".A" {
        let upName = "\(layer).B"
        guard let up = blocks.first(where: { $0.name == upName }) else {
          throw EdgekitError("the manifest has no \(upName)", hint: "export the bundle again")
        }
        let downs = parts.flatMap { split($0.blocks[block.name] ?? [], block.columns) }
        let ups = parts.flatMap { part in
          split(part.blocks[upName] ?? [], up.columns).map { $0.map { part.weight * $0 } }
        }
        let before = squares(downs, ups)
        var kept = (downs: downs, ups: ups)
        if downs.count > block.rows {
          kept = truncatedProduct(downs: downs, ups: ups, rank: block.rows)
        }
        let gone = before - squares(kept.downs, kept.ups)
        whole += before
        lost += gone > nothing * before ? gone : 0
        values[block.name] = ArraySlice(kept.downs.joined().map(Float.init))
        values[upName] = ArraySlice(kept.ups.joined().map(Float.init))
      }
    }
    return Blend(vector: try filled(values), lost: whole > 0 ? (lost / whole).squareRoot() : 0)
  }
}

private func split(_ values: ArraySlice<Float>, _ columns: Int) -> [[Double]] {
  stride(from: values.startIndex, to: values.endIndex, by: max(columns, 1)).map {
    values[$0..<$0 + columns].map(Double.init)
  }
}

/// The squared Frobenius norm of the product ups.T @ downs, without computing the product.
private func squares(_ downs: [[Double]], _ ups: [[Double]]) -> Double {
  func dot(_ one: [Double], _ two: [Double]) -> Double {
    zip(one, two).reduce(0) { $0 + $1.0 * $1.1 }
  }
  var sum = 0.0
  for i in downs.indices {
    for j in downs.indices { sum += dot(downs[i], downs[j]) * dot(ups[i], ups[j]) }
  }
  return sum
}
