plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

// `edgekit app --target android` reads package, versions and SDK levels from here: one line each.
android {
    namespace = "dev.edgekit.demo"
    compileSdk = 35
    defaultConfig {
        applicationId = "dev.edgekit.demo"
        versionCode = 1
        versionName = "0.1"
        minSdk = 26
        targetSdk = 34
    }

    // The runtime that the app carries. `edgekit app` builds onnx; litert is untested: its AAR is nowhere that the
    // project's tests can fetch it from.
    flavorDimensions += "runtime"
    productFlavors {
        create("onnx") { dimension = "runtime" }
        create("litert") {
            dimension = "runtime"
            applicationIdSuffix = ".litert"
        }
    }

    packaging.jniLibs.useLegacyPackaging = true // as android:extractNativeLibs in the manifest
    androidResources.noCompress += listOf("onnx", "tflite", "npz", "safetensors")
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

kotlin.jvmToolchain(17)

dependencies {
    implementation(project(":core"))
    "onnxImplementation"("com.microsoft.onnxruntime:onnxruntime-android:1.29.0")
    "litertImplementation"("com.google.ai.edge.litert:litert:2.3.0")
    "litertImplementation"("com.google.ai.edge.litert:litert-gpu:2.3.0")
}
