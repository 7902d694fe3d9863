package dev.edgekit.core

import java.io.File
import java.io.IOException

/** What the kernel tells about this process and this device. */
object Process {
    /** Nanoseconds that each thread of this process spent on processors; null where the system hides it. */
    fun cpuByThread(): Map<String, Long>? {
        val found = HashMap<String, Long>()
        for (thread in File("/proc/self/task").list() ?: return null) {
            val line = read("/proc/self/task/$thread/schedstat") ?: continue // it has ended
            found[thread] = line.substringBefore(' ').toLongOrNull() ?: return null
        }
        return found.takeIf { it.isNotEmpty() }
    }

    /** Nanoseconds of all threads since `before`, without what the two looks cost; -1 where it cannot be known. */
    fun cpuSince(before: Map<String, Long>?): Long {
        val now = cpuByThread()
        if (before == null || now == null) return -1
        return maxOf(0, spent(before, now) - looking)
    }

    private fun spent(before: Map<String, Long>, now: Map<String, Long>) = now.entries.sumOf { it.value - (before[it.key] ?: 0) }

    private val looking: Long by lazy {
        (0 until 5).minOf { spent(cpuByThread().orEmpty(), cpuByThread().orEmpty()) }.coerceAtLeast(0)
    }

    /** A field of this process's status (VmRSS, VmHWM) in KiB; -1 where the system hides it. */
    fun memoryKb(field: String): Long = read("/proc/self/status")?.lineSequence()?.find { it.startsWith("$field:") }
        ?.filter { it.isDigit() }?.toLongOrNull() ?: -1

    /** Temperatures in thousandths of a degree Celsius. */
    fun milliCelsius(root: String = ""): List<Int> = numbers("$root/sys/class/thermal", "thermal_zone", "temp")

    /** Clock rates of the processors in kHz. */
    fun kilohertz(root: String = ""): List<Int> = numbers("$root/sys/devices/system/cpu", "cpu", "cpufreq/scaling_cur_freq")

    private fun numbers(folder: String, prefix: String, file: String): List<Int> =
        File(folder).list().orEmpty().filter { it.startsWith(prefix) }.sorted()
            .mapNotNull { read("$folder/$it/$file")?.trim()?.toIntOrNull() }

    private fun read(path: String): String? =
        try {
            File(path).readText()
        } catch (error: IOException) {
            null
        }
}
