plugins {
    id("org.jetbrains.kotlin.jvm")
}

// Pure Kotlin without Android, so that its tests run on any JVM. Those with a real model (RealModelTest) need ONNX
// Runtime too and are run by `make test-android`.
kotlin.jvmToolchain(17)
kotlin.sourceSets.named("test") {
    kotlin.exclude("**/RealModelTest.kt", "**/Picture.kt")
}

dependencies {
    testImplementation("junit:junit:4.13.2")
}

tasks.test {
    useJUnit()
    systemProperty("edgekit.golden", rootDir.resolve("../tests/golden"))
}
