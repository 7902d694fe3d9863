package dev.edgekit.core

/** Where the line between before and after lies: moved by touch, by keys and by accessibility services. */
class Split {
    /** Share of the picture, from the left, that shows the photo before the edit. */
    var percent: Int = 50
        private set

    /** What a screen reader says. */
    val words: String get() = "$percent percent before, ${100 - percent} percent after"

    /** Returns whether the line moved. */
    fun moveTo(percent: Int): Boolean {
        val before = this.percent
        this.percent = percent.coerceIn(0, 100)
        return this.percent != before
    }

    fun step(percent: Int): Boolean = moveTo(this.percent + percent)

    /** Move to the place `x` of a view that is `width` wide. */
    fun touch(x: Float, width: Int): Boolean = width > 0 && moveTo(Math.round(100 * x / width))
}

/** Width and height of a photo whose longer side is at most `longest` pixels (0: as it is); never larger than it was. */
fun fitted(width: Int, height: Int, longest: Int): Pair<Int, Int> {
    val side = maxOf(width, height)
    if (longest <= 0 || side <= longest) return width to height
    val factor = longest.toDouble() / side
    return maxOf(1, Math.rint(width * factor).toInt()) to maxOf(1, Math.rint(height * factor).toInt())
}

/** Weights of a base's two chosen concepts when the second has a share of 0 to 100 percent. */
fun mixed(first: String, second: String?, percent: Int): Map<String, Double> {
    if (second == null || second == first || percent <= 0) return mapOf(first to 1.0)
    if (percent >= 100) return mapOf(second to 1.0)
    return mapOf(first to 1 - percent / 100.0, second to percent / 100.0)
}
