/** The nearest product of fewer factors: small matrices, one-sided Jacobi (Eckart and Young 1936). */

const dot = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

/** Orthonormal rows q and coefficients r with rows[i] = sum_j r[i][j] q[j] (modified Gram-Schmidt, twice). */
function orthonormal(rows) {
  const q = [];
  const r = rows.map((row) => {
    const rest = Float64Array.from(row);
    const size = Math.sqrt(dot(rest, rest));
    const coefficients = new Float64Array(rows.length);
    for (let pass = 0; pass < 2; pass++) {
      q.forEach((unit, j) => {
        const along = dot(unit, rest);
        coefficients[j] += along;
        for (let i = 0; i < rest.length; i++) rest[i] -= along * unit[i];
      });
    }
    const left = Math.sqrt(dot(rest, rest));
    if (left > 1e-12 * size) {
      coefficients[q.length] = left;
      q.push(rest.map((value) => value / left));
    }
    return coefficients;
  });
  return { q, r };
}

/**
 * Singular value decomposition of a square matrix given by columns.
 *
 * @param {Float64Array[]} columns
 * @returns {{left: Float64Array[], sizes: number[], right: Float64Array[]}} largest first
 */
export function svd(columns) {
  const n = columns.length;
  const work = columns.map((column) => Float64Array.from(column));
  const turns = columns.map((_, i) => Float64Array.from({ length: n }, (_, j) => (i === j ? 1 : 0)));
  for (let sweep = 0; sweep < 60; sweep++) {
    let largest = 0;
    for (let p = 0; p < n; p++) {
      for (let q = p + 1; q < n; q++) {
        const [a, b, c] = [dot(work[p], work[p]), dot(work[q], work[q]), dot(work[p], work[q])];
        if (!c) continue;
        largest = Math.max(largest, Math.abs(c) / Math.sqrt(a * b));
        const zeta = (b - a) / (2 * c);
        const t = Math.sign(zeta || 1) / (Math.abs(zeta) + Math.hypot(1, zeta));
        const cosine = 1 / Math.hypot(1, t);
        for (const pair of [work, turns]) turn(pair[p], pair[q], cosine, cosine * t);
      }
    }
    if (largest < 1e-15) break;
  }
  const sizes = work.map((column) => Math.sqrt(dot(column, column)));
  const order = sizes.map((_, i) => i).sort((i, j) => sizes[j] - sizes[i]);
  return {
    left: order.map((i) => work[i].map((value) => (sizes[i] ? value / sizes[i] : 0))),
    sizes: order.map((i) => sizes[i]),
    right: order.map((i) => turns[i]),
  };
}

function turn(x, y, cosine, sine) {
  for (let i = 0; i < x.length; i++) {
    [x[i], y[i]] = [cosine * x[i] - sine * y[i], sine * x[i] + cosine * y[i]];
  }
}

/**
 * Return factors of `rank` rows whose product up.T @ down is nearest to that of the given ones.
 *
 * @param {Float64Array[]} downs rows of A
 * @param {Float64Array[]} ups rows of B transposed
 * @returns {[Float64Array[], Float64Array[]]} rows of A and of B transposed
 */
export function truncatedProduct(downs, ups, rank) {
  const down = orthonormal(downs);
  const up = orthonormal(ups);
  const n = downs.length;
  // middle = r_up.T @ r_down, in the bases q_up and q_down; its columns follow q_down.
  const columns = Array.from({ length: n }, (_, j) =>
    Float64Array.from({ length: n }, (_, i) => downs.reduce((sum, _, k) => sum + up.r[k][i] * down.r[k][j], 0)),
  );
  const { left, sizes, right } = svd(columns);
  const combined = (basis, weights, scale, length) => {
    const out = new Float64Array(length);
    basis.forEach((unit, i) => unit.forEach((value, x) => (out[x] += weights[i] * scale * value)));
    return out;
  };
  const a = [];
  const b = [];
  for (let i = 0; i < rank; i++) {
    const root = Math.sqrt(sizes[i] ?? 0);
    a.push(combined(down.q, right[i], root, downs[0].length));
    b.push(combined(up.q, left[i], root, ups[0].length));
  }
  return [a, b];
}
