package dev.edgekit.demo

import android.app.Application

/** The process: one studio, which gives its model back when the system runs short of memory. */
class DemoApp : Application() {
    lateinit var studio: Studio
        private set

    override fun onCreate() {
        super.onCreate()
        studio = Studio(this)
    }

    /** Called while the app is seen (running critical) and when it is no longer (background and above). */
    override fun onTrimMemory(level: Int) {
        super.onTrimMemory(level)
        if (level == TRIM_MEMORY_RUNNING_CRITICAL || level >= TRIM_MEMORY_BACKGROUND) studio.unload()
    }

    override fun onLowMemory() {
        super.onLowMemory()
        studio.unload()
    }

}
