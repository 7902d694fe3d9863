package dev.edgekit.core

/** A number as it was written: what is hashed must keep its digits. */
class JsonNumber(val text: String) {
    override fun toString(): String = text
}

class JsonError(message: String) : Exception(message)

/** Parse RFC 8259: maps in the order of the text, lists, strings, [JsonNumber], booleans and null. */
fun parseJson(text: String): Any? = JsonParser(text).whole()

private class JsonParser(private val text: String) {
    private var at = 0

    fun whole(): Any? {
        val found = value(0)
        space()
        if (at < text.length) fail("something follows its end")
        return found
    }

    private fun value(depth: Int): Any? {
        if (depth > 64) fail("it is nested too deeply")
        space()
        return when (peek()) {
            '{' -> obj(depth)
            '[' -> list(depth)
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> number()
        }
    }

    private fun obj(depth: Int): Map<String, Any?> {
        val found = LinkedHashMap<String, Any?>()
        at++
        space()
        if (taken('}')) return found
        do {
            space()
            if (peek() != '"') fail("a name was expected")
            val name = string()
            space()
            if (!taken(':')) fail("':' was expected")
            found[name] = value(depth + 1)
            space()
        } while (taken(','))
        if (!taken('}')) fail("'}' was expected")
        return found
    }

    private fun list(depth: Int): List<Any?> {
        val found = ArrayList<Any?>()
        at++
        space()
        if (taken(']')) return found
        do {
            found.add(value(depth + 1))
            space()
        } while (taken(','))
        if (!taken(']')) fail("']' was expected")
        return found
    }

    private fun string(): String {
        val found = StringBuilder()
        at++
        while (true) {
            val c = peek()
            at++
            when {
                c == '"' -> return found.toString()
                c < ' ' -> fail("a text holds a control character")
                c == '\\' -> found.append(escaped())
                else -> found.append(c)
            }
        }
    }

    private fun escaped(): Char {
        val c = peek()
        at++
        return when (c) {
            '"', '\\', '/' -> c
            'b' -> '\b'
            'f' -> '\u000c'
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'u' -> {
                val code = text.substring(at, minOf(at + 4, text.length))
                if (!HEX.matches(code)) fail("a text holds a wrong escape")
                at += 4
                code.toInt(16).toChar()
            }
            else -> fail("a text holds a wrong escape")
        }
    }

    private fun number(): JsonNumber {
        val found = NUMBER.find(text, at)
        if (found == null || found.range.first != at) fail("a value was expected")
        at = found.range.last + 1
        return JsonNumber(found.value)
    }

    private fun word(word: String, value: Any?): Any? {
        if (!text.startsWith(word, at)) fail("a value was expected")
        at += word.length
        return value
    }

    private fun space() {
        while (at < text.length && text[at] in " \t\r\n") at++
    }

    private fun peek(): Char = if (at < text.length) text[at] else fail("it ends too early")

    private fun taken(c: Char): Boolean = (at < text.length && text[at] == c).also { if (it) at++ }

    private fun fail(what: String): Nothing = throw JsonError("$what (at character $at)")

    private companion object {
        val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")
        val HEX = Regex("[0-9a-fA-F]{4}")
    }
}

/** Write a value in one line, numbers that JSON has no word for as null. */
fun jsonText(value: Any?): String = StringBuilder().also { write(value, it, sorted = false) }.toString()

/** Write a value as Python hashes it: keys sorted by their code points, no spaces. */
fun canonicalJson(value: Any?): String = StringBuilder().also { write(value, it, sorted = true) }.toString()

private fun write(value: Any?, out: StringBuilder, sorted: Boolean) {
    when (value) {
        is Map<*, *> -> {
            val names = value.keys.map { it as String }
            out.append('{')
            for ((i, name) in (if (sorted) names.sortedWith(::byCodePoints) else names).withIndex()) {
                if (i > 0) out.append(',')
                quote(name, out)
                out.append(':')
                write(value[name], out, sorted)
            }
            out.append('}')
        }
        is List<*> -> {
            out.append('[')
            for ((i, item) in value.withIndex()) {
                if (i > 0) out.append(',')
                write(item, out, sorted)
            }
            out.append(']')
        }
        is String -> quote(value, out)
        is Double -> out.append(if (value.isNaN() || value.isInfinite()) "null" else value.toString())
        null, is Boolean, is JsonNumber, is Int, is Long -> out.append(value.toString())
        else -> throw IllegalArgumentException("JSON has no $value")
    }
}

private fun quote(text: String, out: StringBuilder) {
    out.append('"')
    for (c in text) {
        when (c) {
            '"' -> out.append("\\\"")
            '\\' -> out.append("\\\\")
            '\n' -> out.append("\\n")
            '\r' -> out.append("\\r")
            '\t' -> out.append("\\t")
            '\b' -> out.append("\\b")
            '\u000c' -> out.append("\\f")
            else -> if (c < ' ') out.append("\\u%04x".format(c.code)) else out.append(c)
        }
    }
    out.append('"')
}

private fun byCodePoints(a: String, b: String): Int {
    var i = 0
    while (i < a.length && i < b.length) {
        val (x, y) = a.codePointAt(i) to b.codePointAt(i)
        if (x != y) return x.compareTo(y)
        i += Character.charCount(x)
    }
    return a.length.compareTo(b.length)
}

/** A JSON object whose fields are read by their type; a wrong one throws [JsonError]. */
class JsonObject(private val fields: Map<*, *>) {
    fun text(name: String): String = fields[name] as? String ?: wrong(name, "a text")
    fun textOr(name: String, otherwise: String): String = if (fields[name] == null) otherwise else text(name)
    fun int(name: String): Int = number(name).toIntOrNull() ?: wrong(name, "a whole number")
    fun long(name: String): Long = number(name).toLongOrNull() ?: wrong(name, "a whole number")
    fun double(name: String): Double = number(name).toDouble()
    fun obj(name: String): JsonObject = objOrNull(name) ?: wrong(name, "an object")
    fun objOrNull(name: String): JsonObject? = fields[name]?.let { JsonObject(it as? Map<*, *> ?: wrong(name, "an object")) }
    fun has(name: String): Boolean = fields[name] != null

    /** Empty if the field is missing. */
    fun objects(name: String): List<JsonObject> = list(name).map { JsonObject(it as? Map<*, *> ?: wrong(name, "a list of objects")) }

    fun longs(name: String): List<Long> = list(name).map { (it as? JsonNumber)?.text?.toLongOrNull() ?: wrong(name, "a list of whole numbers") }

    fun ints(): Map<String, Int> = fields.keys.associate { it as String to int(it) }

    private fun list(name: String): List<*> = fields[name]?.let { it as? List<*> ?: wrong(name, "a list") }.orEmpty()

    private fun number(name: String): String = (fields[name] as? JsonNumber)?.text ?: wrong(name, "a number")

    private fun wrong(name: String, kind: String): Nothing = throw JsonError("'$name' is not $kind")

    companion object {
        fun parse(text: String): JsonObject = JsonObject(parseJson(text) as? Map<*, *> ?: throw JsonError("it is no object"))
    }
}
