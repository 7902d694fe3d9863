package dev.edgekit.core

import java.io.File

/** Earlier measurements, one a line, so that a new one has something to stand beside. The oldest are forgotten. */
class History(private val file: File, private val most: Int = 20) {
    fun add(row: List<String>) = file.writeText((readRows() + listOf(row)).takeLast(most).joinToString("") { jsonText(it) + "\n" })

    /** Lines that cannot be read are left out. */
    fun readRows(): List<List<String>> {
        if (!file.isFile) return emptyList()
        return file.readLines().mapNotNull { line ->
            try {
                (parseJson(line) as? List<*>)?.map { it as? String ?: "" }
            } catch (error: JsonError) {
                null
            }
        }
    }
}
