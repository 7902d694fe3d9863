package dev.edgekit.core

import java.util.concurrent.locks.ReentrantLock
import kotlin.concurrent.withLock

/** A box for one frame: what arrives while one is being edited replaces what waits there. Frames are dropped, never queued. */
class Latest<T : Any>(private val drop: (T) -> Unit) {
    private val lock = ReentrantLock()
    private val changed = lock.newCondition()
    private var waiting: T? = null
    private var open = true

    /** How many frames were dropped. */
    var dropped: Int = 0
        private set

    /** Leave the newest frame; an older one that nobody took is dropped. */
    fun offer(frame: T) {
        val old = lock.withLock {
            val refused = if (open) waiting else frame
            if (open) waiting = frame
            if (refused != null) dropped++
            changed.signalAll()
            refused
        }
        old?.let(drop)
    }

    /** Wait for a frame; null once the box is closed. */
    fun take(): T? = lock.withLock {
        while (open && waiting == null) changed.await()
        val frame = waiting
        waiting = null
        frame
    }

    /** Let go of what waits, and end whoever waits for it. */
    fun close() {
        val old = lock.withLock {
            open = false
            changed.signalAll()
            waiting.also { waiting = null }
        }
        old?.let(drop)
    }
}
