package dev.edgekit.demo

import android.content.Context
import android.content.Intent
import android.content.IntentFilter
import android.os.BatteryManager
import android.os.Build
import android.os.PowerManager

/** What the system says about this device: for the lines of a benchmark. */
class Device(private val context: Context) {
    private val power = context.getSystemService(Context.POWER_SERVICE) as PowerManager

    /** Thermal status, battery and power saving, as they are now. */
    fun facts(): Map<String, Any?> {
        val battery = context.registerReceiver(null, IntentFilter(Intent.ACTION_BATTERY_CHANGED))
        val degrees = battery?.getIntExtra(BatteryManager.EXTRA_TEMPERATURE, -1) ?: -1
        return mapOf(
            "thermal_status" to thermalStatus(),
            "battery_percent" to (battery?.getIntExtra(BatteryManager.EXTRA_LEVEL, -1) ?: -1),
            "battery_milli_c" to if (degrees > 0) degrees * 100 else null,
            "charging" to ((battery?.getIntExtra(BatteryManager.EXTRA_PLUGGED, 0) ?: 0) != 0),
            "power_save" to power.isPowerSaveMode,
        )
    }

    /** 0 (none) to 6 (shutdown), by a method that Android has since API 29; null before. */
    private fun thermalStatus(): Int? =
        try {
            PowerManager::class.java.getMethod("getCurrentThermalStatus").invoke(power) as? Int
        } catch (error: ReflectiveOperationException) {
            null
        }

    companion object {
        fun name(): String = "${Build.MANUFACTURER} ${Build.MODEL}, Android ${Build.VERSION.RELEASE} (API ${Build.VERSION.SDK_INT})"
    }
}
