import Foundation

/// The nearest product of fewer factors: one-sided Jacobi on small matrices (Eckart and Young 1936).
///
/// Return factors of `rank` rows whose product up.T @ down is nearest to that of the given ones;
/// `downs` are the rows of A, `ups` those of B transposed.
func truncatedProduct(
  downs: [[Double]], ups: [[Double]], rank: Int
) -> (downs: [[Double]], ups: [[Double]]) {
  let (down, up) = (orthonormal(downs), orthonormal(ups))
  let n = downs.count
  // r_up.T @ r_down, in the bases of both sides; its columns follow the basis of the downs.
  let columns = (0..<n).map { j in
    (0..<n).map { i in
      (0..<n).reduce(0.0) { $0 + up.coefficients[$1][i] * down.coefficients[$1][j] }
    }
  }
  let found = singularValues(columns)
  func combined(_ basis: [[Double]], _ weights: [Double], _ scale: Double, _ length: Int)
    -> [Double]
  {
    var made = [Double](repeating: 0, count: length)
    for (unit, weight) in zip(basis, weights) {
      for x in 0..<length { made[x] += weight * scale * unit[x] }
    }
    return made
  }
  let roots = (0..<rank).map { $0 < n ? found.sizes[$0].squareRoot() : 0 }
  let lengths = (downs.first?.count ?? 0, ups.first?.count ?? 0)
  return (
    (0..<rank).map { combined(down.basis, found.right[$0], roots[$0], lengths.0) },
    (0..<rank).map { combined(up.basis, found.left[$0], roots[$0], lengths.1) }
  )
}

private func dot(_ one: [Double], _ two: [Double]) -> Double {
  zip(one, two).reduce(0) { $0 + $1.0 * $1.1 }
}

/// Orthonormal rows and coefficients with rows[i] = sum_j coefficients[i][j] basis[j] (modified
/// Gram-Schmidt, twice). A row that depends on others adds nothing to the basis.
private func orthonormal(_ rows: [[Double]]) -> (basis: [[Double]], coefficients: [[Double]]) {
  var basis: [[Double]] = []
  let coefficients = rows.map { row in
    var rest = row
    var along = [Double](repeating: 0, count: rows.count)
    for _ in 0..<2 {
      for (j, unit) in basis.enumerated() {
        let part = dot(unit, rest)
        along[j] += part
        for i in rest.indices { rest[i] -= part * unit[i] }
      }
    }
    let left = dot(rest, rest).squareRoot()
    if left > 1e-12 * dot(row, row).squareRoot() {
      along[basis.count] = left
      basis.append(rest.map { $0 / left })
    }
    return along
  }
  return (basis, coefficients)
}

/// Singular value decomposition of a square matrix given by columns; largest first.
private func singularValues(
  _ columns: [[Double]]
) -> (left: [[Double]], sizes: [Double], right: [[Double]]) {
  let n = columns.count
  var work = columns
  var turns = (0..<n).map { i in (0..<n).map { $0 == i ? 1.0 : 0.0 } }
  func turn(_ rows: inout [[Double]], _ p: Int, _ q: Int, _ cosine: Double, _ sine: Double) {
    for i in rows[p].indices {
      let (x, y) = (rows[p][i], rows[q][i])
      rows[p][i] = cosine * x - sine * y
      rows[q][i] = sine * x + cosine * y
    }
  }
  for _ in 0..<60 {
    var largest = 0.0
    for p in 0..<n {
      for q in p + 1..<max(n, p + 1) {
        let (a, b, c) = (dot(work[p], work[p]), dot(work[q], work[q]), dot(work[p], work[q]))
        if c == 0 { continue }
        largest = max(largest, abs(c) / (a * b).squareRoot())
        let zeta = (b - a) / (2 * c)
        let t = (zeta < 0 ? -1 : 1) / (abs(zeta) + (1 + zeta * zeta).squareRoot())
        let cosine = 1 / (1 + t * t).squareRoot()
        turn(&work, p, q, cosine, cosine * t)
        turn(&turns, p, q, cosine, cosine * t)
      }
    }
    if largest < 1e-15 { break }
  }
  let sizes = work.map { dot($0, $0).squareRoot() }
  let order = sizes.indices.sorted { sizes[$0] > sizes[$1] }
  return (
    order.map { i in work[i].map { sizes[i] > 0 ? $0 / sizes[i] : 0 } },
    order.map { sizes[$0] },
    order.map { turns[$0] }
  )
}
