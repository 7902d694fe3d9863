package dev.edgekit.core

import kotlin.math.abs
import kotlin.math.floor
import kotlin.math.log10
import kotlin.math.min
import kotlin.math.roundToInt

/** Return a percentile (0 to 100) with linear interpolation between ranks, as numpy does. */
fun percentile(values: List<Double>, percent: Double): Double {
    require(values.isNotEmpty()) { "no values" }
    val sorted = values.sorted()
    val at = (sorted.size - 1) * percent / 100
    val low = floor(at).toInt()
    val high = min(low + 1, sorted.size - 1)
    return sorted[low] + (sorted[high] - sorted[low]) * (at - low)
}

/** What a run of calls took, in milliseconds. */
class Summary(ms: List<Double>) {
    val calls: Int = ms.size
    val p50: Double = percentile(ms, 50.0)

    /** Null for fewer than ten calls. */
    val p90: Double? = if (calls >= 10) percentile(ms, 90.0) else null

    /** Null for fewer than a hundred calls. */
    val p99: Double? = if (calls >= 100) percentile(ms, 99.0) else null
    val least: Double = ms.min()

    /** Median distance from the median, as a share of it. */
    val spread: Double = if (p50 > 0) percentile(ms.map { abs(it - p50) }, 50.0) / p50 else 0.0

    /** Median of the last third over that of the first third. */
    val drift: Double = (calls / 3).let { third ->
        if (third == 0) 1.0 else percentile(ms.takeLast(third), 50.0) / percentile(ms.take(third), 50.0)
    }

    val warnings: List<String> = listOfNotNull(
        "only $calls ${if (calls == 1) "call" else "calls"}".takeIf { calls < 10 },
        "unstable: half of the calls are more than ${(spread * 100).roundToInt()}% off the median".takeIf { spread > 0.1 },
        "drifting: the last third took ${"%.2f".format(drift)} times the first third".takeIf { abs(drift - 1) > 0.15 },
    )
}

/** How far one picture is from another: values in [-1, 1], as `edgekit verify` compares them. */
class Parity(reference: FloatArray, candidate: FloatArray) {
    /** The largest difference; infinite where a value is no number. */
    val maxAbs: Double

    /** 999 stands for identical pictures. */
    val psnrDb: Double

    init {
        require(reference.size == candidate.size) { "the pictures differ in size" }
        var worst = 0.0
        var sum = 0.0
        for (i in reference.indices) {
            val off = abs(reference[i].toDouble() - candidate[i])
            worst = if (off.isNaN()) Double.POSITIVE_INFINITY else maxOf(worst, off)
            sum += off * off
        }
        maxAbs = worst
        psnrDb = if (sum == 0.0) 999.0 else 10 * log10(4 * reference.size / sum)
    }
}
