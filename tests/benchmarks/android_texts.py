"""What Android's commands print, in its format (Android 15); typed for these tests, of no phone."""

PHONE = """ro.product.cpu.abi=arm64-v8a
ro.product.manufacturer=Google
ro.product.model=Pixel 8
ro.soc.model=Tensor G3
ro.build.version.sdk=35
ro.build.version.release=15
ro.hardware=shiba
"""

_BATTERY = """Current Battery Service state:
  AC powered: {ac}
  USB powered: {usb}
  Wireless powered: false
  Dock powered: false
  Max charging current: 500000
  Max charging voltage: 5000000
  Charge counter: 3710000
  status: 2
  health: 2
  present: true
  level: {level}
  scale: 100
  voltage: 4231
  temperature: 291
  technology: Li-ion
"""
BATTERY_CHARGING = _BATTERY.format(ac="false", usb="true", level=84)
BATTERY_LOW = _BATTERY.format(ac="false", usb="false", level=9)
BATTERY_FULL = _BATTERY.format(ac="false", usb="false", level=97)

_THERMAL = """IsStatusOverride: false
ThermalEventListeners:
	callbacks: 2
	killed: false
	broadcasts count: -1
ThermalStatusListeners:
	callbacks: 4
	killed: false
	broadcasts count: -1
Thermal Status: {status}
Cached temperatures:
	Temperature{{mValue=99.0, mType=3, mName=VIRTUAL-SKIN, mStatus=0}}
HAL Ready: true
HAL connection:
	ThermalHAL AIDL 2  connected: yes
Current temperatures from HAL:
	Temperature{{mValue={big}, mType=0, mName=BIG, mStatus=0}}
	Temperature{{mValue=0.0, mType=1, mName=G3D, mStatus=0}}
	Temperature{{mValue=29.1, mType=2, mName=battery, mStatus=0}}
	Temperature{{mValue=31.2, mType=3, mName=VIRTUAL-SKIN, mStatus=0}}
	Temperature{{mValue=4210.0, mType=-1, mName=battery_cycle, mStatus=0}}
Current cooling devices from HAL:
	CoolingDevice{{mValue=0, mType=3, mName=thermal-gpufreq-0}}
"""
THERMAL_COOL = _THERMAL.format(status=0, big=33.4)
THERMAL_WARM = _THERMAL.format(status=0, big=44.5)
THERMAL_HOT = _THERMAL.format(status=3, big=52.0)

POWER_AWAKE = "  mWakefulness=Awake\n  Display Power: state=ON\n"
POWER_ASLEEP = "  mWakefulness=Asleep\n  Display Power: state=OFF\n"
