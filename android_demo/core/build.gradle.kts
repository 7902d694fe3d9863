plugins {
    id("org.jetbrains.kotlin.jvm")
}

// Pure Kotlin without Android, so that its tests run on any JVM. Those with a real model (RealModelTest) need ONNX
// Runtime too and are run by `make test-android`.
kotlin.jvmToolchain(17)
java {
    sourceCompatibility = JavaVersion.VERSION_1_8
    targetCompatibility = JavaVersion.VERSION_1_8
}
tasks.withType<org.jetbrains.kotlin.gradle.tasks.KotlinCompile>().configureEach {
    compilerOptions.jvmTarget.set(org.jetbrains.kotlin.gradle.dsl.JvmTarget.JVM_1_8)
}
sourceSets["test"].kotlin.exclude("**/RealModelTest.kt")

dependencies {
    testImplementation("junit:junit:4.13.2")
}

tasks.test {
    useJUnit()
    systemProperty("edgekit.golden", rootDir.resolve("../tests/golden"))
}
