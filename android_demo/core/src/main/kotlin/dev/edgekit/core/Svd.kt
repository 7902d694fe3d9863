package dev.edgekit.core

import kotlin.math.abs
import kotlin.math.hypot
import kotlin.math.sqrt

/** The nearest product of fewer factors: small matrices, one-sided Jacobi (Eckart and Young 1936). */
class Svd(val left: List<DoubleArray>, val sizes: DoubleArray, val right: List<DoubleArray>)

private fun dot(a: DoubleArray, b: DoubleArray): Double {
    var sum = 0.0
    for (i in a.indices) sum += a[i] * b[i]
    return sum
}

/** Orthonormal rows q and coefficients r with rows(i) = sum over j of r(i)(j) q(j): modified Gram-Schmidt, twice. */
private fun orthonormal(rows: List<DoubleArray>): Pair<List<DoubleArray>, List<DoubleArray>> {
    val q = ArrayList<DoubleArray>()
    val r = rows.map { row ->
        val rest = row.copyOf()
        val size = sqrt(dot(rest, rest))
        val coefficients = DoubleArray(rows.size)
        repeat(2) {
            for ((j, unit) in q.withIndex()) {
                val along = dot(unit, rest)
                coefficients[j] += along
                for (i in rest.indices) rest[i] -= along * unit[i]
            }
        }
        val left = sqrt(dot(rest, rest))
        if (left > 1e-12 * size) {
            coefficients[q.size] = left
            q.add(DoubleArray(rest.size) { rest[it] / left })
        }
        coefficients
    }
    return q to r
}

/** Decompose a square matrix that is given by its columns; the largest singular value comes first. */
fun svd(columns: List<DoubleArray>): Svd {
    val n = columns.size
    val work = columns.map { it.copyOf() }
    val turns = List(n) { i -> DoubleArray(n) { if (it == i) 1.0 else 0.0 } }
    for (sweep in 0 until 60) {
        var largest = 0.0
        for (p in 0 until n) {
            for (q in p + 1 until n) {
                val a = dot(work[p], work[p])
                val b = dot(work[q], work[q])
                val c = dot(work[p], work[q])
                if (c == 0.0) continue
                largest = maxOf(largest, abs(c) / sqrt(a * b))
                val zeta = (b - a) / (2 * c)
                val t = (if (zeta < 0) -1 else 1) / (abs(zeta) + hypot(1.0, zeta))
                val cosine = 1 / hypot(1.0, t)
                turn(work[p], work[q], cosine, cosine * t)
                turn(turns[p], turns[q], cosine, cosine * t)
            }
        }
        if (largest < 1e-15) break
    }
    val sizes = DoubleArray(n) { sqrt(dot(work[it], work[it])) }
    val order = sizes.indices.sortedByDescending { sizes[it] }
    return Svd(
        order.map { i -> DoubleArray(n) { if (sizes[i] > 0) work[i][it] / sizes[i] else 0.0 } },
        DoubleArray(n) { sizes[order[it]] },
        order.map { turns[it] },
    )
}

private fun turn(x: DoubleArray, y: DoubleArray, cosine: Double, sine: Double) {
    for (i in x.indices) {
        val (a, b) = x[i] to y[i]
        x[i] = cosine * a - sine * b
        y[i] = sine * a + cosine * b
    }
}

/** Return factors of `rank` rows whose product transposed(up) x down is nearest to that of the given ones. */
fun truncatedProduct(downs: List<DoubleArray>, ups: List<DoubleArray>, rank: Int): Pair<List<DoubleArray>, List<DoubleArray>> {
    val (downBasis, downParts) = orthonormal(downs)
    val (upBasis, upParts) = orthonormal(ups)
    val n = downs.size
    // The matrix between the two bases; its columns follow that of the downs.
    val columns = List(n) { j -> DoubleArray(n) { i -> downs.indices.sumOf { k -> upParts[k][i] * downParts[k][j] } } }
    val found = svd(columns)
    fun combined(basis: List<DoubleArray>, weights: DoubleArray, scale: Double, length: Int): DoubleArray {
        val out = DoubleArray(length)
        for ((i, unit) in basis.withIndex()) for (x in unit.indices) out[x] += weights[i] * scale * unit[x]
        return out
    }
    val down = ArrayList<DoubleArray>()
    val up = ArrayList<DoubleArray>()
    for (i in 0 until rank) {
        val root = sqrt(found.sizes[i])
        down.add(combined(downBasis, found.right[i], root, downs[0].size))
        up.add(combined(upBasis, found.left[i], root, ups[0].size))
    }
    return down to up
}
